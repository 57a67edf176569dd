//! URLs in messages: user and password of one are not shown.

/// What stands for user and password.
pub const HIDDEN: &str = "***";

/// A URL as it may be shown, whether it can be read or not: `http://user:password@host/` is `http://***@host/`.
pub fn shown(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(begin);
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password with a slash ends the authority early.
    let of_user = if authority.contains('@') || is_plain(authority) { authority } else { rest };
    match of_user.rfind('@') {
        Some(at) => format!("{scheme}{HIDDEN}{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// A text with the URLs in it as they may be shown, and without users and passwords of URLs that lack the `://`.
pub fn shown_within(text: &str) -> String {
    text.split_inclusive('\n').map(line_shown).collect()
}

fn line_shown(line: &str) -> String {
    let mut written = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(begin) = rest.find("://") {
        let (before, url) = rest.split_at(begin);
        let (url, behind) = url.split_at(end_of_url(url));
        let url = shown(url);
        let path = url.get(3..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| at + 3);
        written.push_str(&words_shown(before));
        written.push_str(&url[..path]);
        written.push_str(&words_shown(&url[path..]));
        rest = behind;
    }
    written + &words_shown(rest)
}

/// Where the URL ends whose `://` the text begins with: at a blank, a quote or the `://` of the next one. A colon that
/// no port follows may be that of a password with such letters, which ends at an `@`.
fn end_of_url(text: &str) -> usize {
    let ends = |one: char| one.is_whitespace() || one == '"' || one == '\'';
    let next = text.get(3..).and_then(|rest| rest.find("://")).map_or(text.len(), |at| at + 3);
    let end = text[..next].find(ends).unwrap_or(next);
    let url = &text[3..end];
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    let is_host = is_plain(authority) || is_plain(authority.trim_end_matches([',', ';', ']', ')', '}']));
    if url.contains('@') || is_host || !url.contains(':') {
        return end;
    }
    let Some(at) = text[..next].rfind('@').or_else(|| text.rfind('@')) else { return end };
    text[at..].find(ends).map_or(text.len(), |length| at + length)
}

/// A text without the users and passwords of words such as `user:password@host`.
fn words_shown(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(word_shown).collect()
}

fn word_shown(word: &str) -> String {
    let (Some(colon), Some(at)) = (word.find(':'), word.rfind('@')) else { return word.to_owned() };
    if at < colon || is_digest(&word[at + 1..]) {
        return word.to_owned();
    }
    let begin = word[..colon].rfind(['=', ',', '[', '{', '(', '"', '\'', '`', '/']).map_or(0, |at| at + 1);
    format!("{}{HIDDEN}{}", &word[..begin], &word[at..])
}

/// True for the digest of a container image, such as `sha256:` and 64 hexadecimal digits.
fn is_digest(text: &str) -> bool {
    let digits = text.split_once(':').map_or("", |(_, digits)| digits);
    digits.bytes().take_while(u8::is_ascii_hexdigit).count() >= 32
}

/// True for a host without a port or with a number as its port.
fn is_plain(authority: &str) -> bool {
    let of_brackets = authority.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let behind = of_brackets.map_or(authority, |(_, behind)| behind);
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    !authority.is_empty() && behind.split_once(':').is_none_or(|(_, port)| is_number(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_not_shown() {
        for (url, expected) in [
            ("http://admin:hunter2@10.77.0.2:8080/", "http://***@10.77.0.2:8080/"),
            ("admin:hunter2@10.77.0.2:8080/", "***@10.77.0.2:8080/"),
            ("https://u@[fd77::2]:81/a@b", "https://***@[fd77::2]:81/a@b"),
            ("http://u:p@ss@h/", "http://***@h/"),
            ("http://u:a/b@h/", "http://***@h/"),
            ("http://u:a?b#c@h:x", "http://***@h:x"),
            ("http:/u:hunter2@h", "***@h"),
            ("http:///u:hunter2@h", "http://***@h"),
            ("http://h:81/a@b", "http://h:81/a@b"),
            ("http://[fd77::2]/a@b", "http://[fd77::2]/a@b"),
            ("http://h/?to=a@b", "http://h/?to=a@b"),
            ("", ""),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn texts_keep_what_is_no_user() {
        let text =
            "3 |   targets: [direct, \"http://admin:hunter2@h:80/a@b\"] # x@y\n  | ^ 'https://p@h' :// @";
        let expected = "3 |   targets: [direct, \"http://***@h:80/a@b\"] # x@y\n  | ^ 'https://***@h' :// @";
        assert_eq!(shown_within(text), expected);
        assert_eq!(shown_within("no URL"), "no URL");
    }

    #[test]
    fn no_password_of_several_urls_or_with_blanks_is_shown() {
        for (text, expected) in [
            ("[http://10.0.0.1:80/,http://admin:hunter2@h/]", "[http://10.0.0.1:80/,http://***@h/]"),
            ("http://u:hunter2@h,http://v:hunter2@i", "http://***@h,http://***@i"),
            ("http://u:p://hunter2@h/", "http://***@h/"),
            ("http://u:pa hunter2@h/ b", "http://***@h/ b"),
            ("'http://u:pa''hunter2@h/'", "'http://***@h/'"),
            ("http://u:pa hunter2@h/ http://v:hunter2@i/", "http://***@h/ http://***@i/"),
            ("http://u:1:hunter2@h/", "http://***@h/"),
            ("[http://h:81, direct] # x@y", "[http://h:81, direct] # x@y"),
            ("http://[fd77::2] x@y", "http://[fd77::2] x@y"),
            ("http://u:pa\nx@y", "http://u:pa\nx@y"),
        ] {
            assert_eq!(shown_within(text), expected, "{text}");
        }
    }

    #[test]
    fn no_password_of_a_url_without_slashes_is_shown() {
        let digest = format!("image: r:5000/x:v1@sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("admin:hunter2@h", "***@h"),
            ("http:/u:hunter2@h", "***@h"),
            ("--set spec.targets[0]=u:hunter2@h", "--set spec.targets[0]=***@h"),
            ("2 | - [direct,u:hunter2@h:80/] # x@y", "2 | - [direct,***@h:80/] # x@y"),
            ("- 'u:hunt''er2@h'", "- '***@h'"),
            ("[http://h:80/,u:hunter2@h]", "[http://h:80/,***@h]"),
            ("line 3 column 7: x@y", "line 3 column 7: x@y"),
            (&digest, &digest),
        ] {
            assert_eq!(shown_within(text), expected, "{text}");
        }
    }
}
