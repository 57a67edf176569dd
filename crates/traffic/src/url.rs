//! URLs in messages: user and password of one are not shown.

/// What stands for user and password.
const HIDDEN: &str = "***";

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

/// A text with the URLs in it as they may be shown.
pub fn shown_within(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("://") {
        let (before, url) = rest.split_at(begin);
        let ends = |one: char| one.is_whitespace() || one == '"' || one == '\'';
        let (url, behind) = url.split_at(url.find(ends).unwrap_or(url.len()));
        written.push_str(before);
        written.push_str(&shown(url));
        rest = behind;
    }
    written + rest
}

/// True for a host without a port or with a number as its port.
fn is_plain(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    !authority.is_empty() && port.is_none_or(|port| port.ends_with(']') || is_number(port))
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
}
