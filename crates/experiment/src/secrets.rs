//! Text without secrets: the values of options that are named like a token, secret or password.

use serde_json::Value;

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
        Some((name, _)) if !name.contains(',') && is_secret(name) => return format!("{name}={REMOVED}"),
        None => return word.to_owned(),
        Some(_) => {}
    }
    let mut is_of_secret = false;
    let options = word.split(',').filter_map(|option| match option.split_once('=') {
        Some((name, _)) => {
            is_of_secret = is_secret(name);
            Some(if is_of_secret { format!("{name}={REMOVED}") } else { option.to_owned() })
        }
        // A comma in the value of a secret.
        None => (!is_of_secret).then(|| option.to_owned()),
    });
    options.collect::<Vec<_>>().join(",")
}

/// True for names of secrets; a name for a file with a secret is not one. Of a URL, the name of the parameter counts.
pub fn is_secret(name: &str) -> bool {
    let name = name.rsplit(['/', '?', '&']).next().unwrap_or(name).to_ascii_lowercase();
    !name.ends_with("file") && SECRET.iter().any(|secret| name.contains(secret))
}

/// A value whose texts have no secrets; its fields stay.
pub(crate) fn texts_without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, texts_without_secrets(value))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(texts_without_secrets).collect()),
        Value::String(text) => Value::String(text_without_secrets(&text)),
        other => other,
    }
}
