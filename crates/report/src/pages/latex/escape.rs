//! Escaping of text for LaTeX.

use std::fmt::Write;

/// Characters after which a line may break in a word without joints, such as a digest.
const LONGEST: usize = 24;

/// Escaped text. Characters that the fonts lack are replaced by their code points.
pub(super) fn escape(text: &str) -> String {
    convert(text, "")
}

/// As [`escape`]; lines may also break after the joints of long names, and within very long words.
pub(super) fn breakable(text: &str) -> String {
    convert(text, "\\allowbreak{}")
}

fn convert(text: &str, joint: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut unbroken = 0;
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' | '}' | '$' | '&' | '#' | '%' => {
                out.push('\\');
                out.push(character);
            }
            '_' => out.push_str("\\_"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '\'' => out.push_str("\\textquotesingle{}"),
            '`' => out.push_str("\\textasciigrave{}"),
            // Braces prevent ligatures and optional arguments.
            '-' | ',' | '[' | ']' | '*' | '?' | '!' => {
                let _ = write!(out, "{{{character}}}");
            }
            'µ' | 'μ' => out.push_str("\\textmu{}"),
            '≥' => out.push_str("\\ensuremath{\\geq}"),
            '÷' => out.push_str("\\textdiv{}"),
            '×' => out.push_str("\\texttimes{}"),
            '±' => out.push_str("\\textpm{}"),
            '−' => out.push_str("\\textminus{}"),
            '–' => out.push_str("\\textendash{}"),
            '…' => out.push_str("\\textellipsis{}"),
            'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ' => out.push(character),
            ' '..='~' => out.push(character),
            '\t' | '\n' | '\r' => out.push(' '),
            other => {
                let _ = write!(out, "{{[}}U+{:04X}{{]}}", u32::from(other));
            }
        }
        let is_joint = matches!(character, '_' | '-' | '/' | ':' | ',' | '=' | '@');
        unbroken = if is_joint || character == ' ' { 0 } else { unbroken + 1 };
        if is_joint || unbroken == LONGEST {
            out.push_str(joint);
            unbroken = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_latex_command_is_left() {
        assert_eq!(escape(r"\input{/etc/passwd}"), r"\textbackslash{}input\{/etc/passwd\}");
        assert_eq!(
            escape("50% of $x_1^2 & #3~"),
            r"50\% of \$x\_1\textasciicircum{}2 \& \#3\textasciitilde{}"
        );
        assert_eq!(escape("a\nb\u{0}c"), "a b{[}U+0000{]}c");
        assert_eq!(escape("µs × ü 🦀"), r"\textmu{}s \texttimes{} ü {[}U+1F980{]}");
        assert_eq!(escape("≥ 1 ÷"), r"\ensuremath{\geq} 1 \textdiv{}");
    }

    #[test]
    fn long_names_may_break_at_their_joints() {
        assert_eq!(breakable("a_b"), r"a\_\allowbreak{}b");
        assert_eq!(breakable(&"f".repeat(64)).matches("allowbreak").count(), 2);
    }
}
