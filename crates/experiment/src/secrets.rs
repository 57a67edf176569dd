//! Text without secrets: the values of options that are named like a token, secret or password.

/// What stands in the place of a secret.
pub const REMOVED: &str = "[removed]";
/// Options and variables with one of these in their name are not written.
const SECRET: [&str; 8] =
    ["token", "secret", "password", "passwd", "passphrase", "credential", "apikey", "api_key"];

/// A text without the values of `name=value` wherever they stand, as in the options of a device.
pub fn text_without_secrets(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    let pieces = text.split_inclusive(is_end).map(|piece| {
        let word = piece.trim_end_matches(is_end);
        word_without_secrets(word) + &piece[word.len()..]
    });
    pieces.collect()
}

/// A word without secrets. One that begins with the name of a secret has nothing else behind it; others may have options between commas.
pub fn word_without_secrets(word: &str) -> String {
    match word.split_once('=') {
        None => return word.to_owned(),
        Some((name, _)) if name.contains("://") => return url_without_secrets(word),
        Some((name, _)) if !name.contains(',') && is_secret(name) => return format!("{name}={REMOVED}"),
        Some(_) => {}
    }
    let mut is_of_secret = false;
    let options = word.split(',').filter_map(|option| match option.split_once('=') {
        Some((name, value)) => {
            is_of_secret = is_secret(name);
            let value = if is_of_secret { REMOVED.to_owned() } else { url_without_secrets(value) };
            Some(format!("{name}={value}"))
        }
        // A comma in the value of a secret.
        None => (!is_of_secret).then(|| option.to_owned()),
    });
    options.collect::<Vec<_>>().join(",")
}

/// A URL without the values of parameters that are secrets; all others stay, because they say what was measured. Other text has none.
fn url_without_secrets(url: &str) -> String {
    if !url.contains("://") {
        return url.to_owned();
    }
    let parameters = url.split_inclusive(['?', '&']).map(|part| match part.split_once('=') {
        Some((name, value)) if is_secret(name) => {
            format!("{name}={REMOVED}{}", if value.ends_with('&') { "&" } else { "" })
        }
        _ => part.to_owned(),
    });
    parameters.collect()
}

/// True for names of secrets; a name for a file with a secret is not one.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.ends_with("file") && SECRET.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::text_without_secrets;

    #[test]
    fn urls_keep_what_is_no_secret() {
        for (text, kept) in [
            ("- http://h/x?max=256&size=1", "- http://h/x?max=256&size=1"),
            ("- http://h/x?size=1&token=abc&a=b,c", "- http://h/x?size=1&token=[removed]&a=b,c"),
            ("--target=http://h/x?token=abc&size=1", "--target=http://h/x?token=[removed]&size=1"),
            ("net_memif0,id=0,secret=a://b", "net_memif0,id=0,secret=[removed]"),
            ("url: \"https://h/x?apiKey=abc\"", "url: \"https://h/x?apiKey=[removed]\""),
        ] {
            assert_eq!(text_without_secrets(text), kept);
        }
    }
}
