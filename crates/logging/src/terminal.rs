//! Escaping of text for terminals: foreign text must not move the cursor, set titles or hide itself.

use std::borrow::Cow;
use std::path::Path;

/// The text with control characters except newline and tab, and characters that change the writing direction,
/// escaped as `\u001b`: a form that JSON accepts as well.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let harmless = |character: char| character == '\n' || character == '\t' || !is_hidden(character);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if harmless(character) {
            shown.push(character);
        } else {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    Cow::Owned(shown)
}

/// The same on one line: newlines and tabs are escaped as well.
pub fn escaped_line(text: &str) -> String {
    escaped(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// A path on one line, escaped like [`escaped_line`].
pub fn escaped_path(path: &Path) -> String {
    escaped_line(&path.to_string_lossy())
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_shown_and_not_sent() {
        for (text, shown) in [
            ("plain, with µ and …\n\tindented", "plain, with µ and …\n\tindented"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u001b[2J\\u001b]0;title\\u0007"),
            ("back\rwards\u{8}", "back\\u000dwards\\u0008"),
            ("C1 \u{9b}31m, DEL \u{7f}", "C1 \\u009b31m, DEL \\u007f"),
            ("turned \u{202e}gnp.exe", "turned \\u202egnp.exe"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert!(matches!(escaped("nothing"), Cow::Borrowed(_)));
        assert_eq!(escaped_line("a\nb\tc\u{1b}"), "a\\nb\\tc\\u001b");
        assert_eq!(escaped_path(Path::new("b\u{1b}[31mRED\n.pcap")), "b\\u001b[31mRED\\n.pcap");
    }

    #[test]
    fn json_stays_json_and_means_the_same() {
        let text = "a \u{9b}1m \u{7f} \u{202e} \u{1b} \n end";
        let json = serde_json::to_string(text).unwrap();
        let shown = escaped(&json);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
