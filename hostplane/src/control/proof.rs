//! Proofs that an end knows the token: HMAC-SHA256 (RFC 2104, FIPS 198-1) over both ends' random numbers.

use linerate_agent::token::Token;
use linerate_wire::streams::StreamKey;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a block of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Digits of a nonce that is accepted.
const NONCE_DIGITS: std::ops::RangeInclusive<usize> = 16..=128;

/// Random hexadecimal digits.
///
/// # Errors
/// When the kernel has no random numbers.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// True when this can be the other end's nonce.
pub(crate) fn is_nonce(text: &str) -> bool {
    NONCE_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Both ends' nonces, from which everything else follows.
#[derive(Debug, Clone)]
pub(crate) struct Nonces {
    pub(crate) client: String,
    pub(crate) server: String,
}

impl Nonces {
    fn code(&self, token: &Token, purpose: &str) -> [u8; 32] {
        // The lengths are bounded and the separator is no digit, so no two inputs are the same text.
        let text = format!("linerate-hostplane {purpose}\n{}\n{}", self.client, self.server);
        hmac(token.secret(), text.as_bytes())
    }

    /// The server's proof.
    pub(crate) fn of_server(&self, token: &Token) -> String {
        hex(&self.code(token, "server"))
    }

    /// The client's proof.
    pub(crate) fn of_client(&self, token: &Token) -> String {
        hex(&self.code(token, "client"))
    }

    /// The key of the streams of this conversation.
    pub(crate) fn key(&self, token: &Token) -> StreamKey {
        let code = self.code(token, "streams");
        StreamKey(std::array::from_fn(|index| code[index]))
    }
}

/// Compares a proof in a time that depends only on the lengths.
pub(crate) fn matches(expected: &str, offered: &str) -> bool {
    expected.as_bytes().ct_eq(offered.as_bytes()).into()
}

fn hmac(secret: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if secret.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        block[..secret.len()].copy_from_slice(secret);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (secret, text, code) in cases {
            assert_eq!(hex(&hmac(secret, text)), code);
        }
    }

    #[test]
    fn every_purpose_has_a_code_of_its_own() {
        let token = Token::load(None, Some("0123456789abcdef".into())).unwrap();
        let other = Token::load(None, Some("0123456789abcdeF".into())).unwrap();
        let nonces = Nonces { client: nonce().unwrap(), server: nonce().unwrap() };
        assert!(is_nonce(&nonces.client) && nonces.client != nonces.server);
        assert!(!is_nonce("") && !is_nonce(&"0".repeat(200)) && !is_nonce("not a number at all!"));
        assert_ne!(nonces.of_server(&token), nonces.of_client(&token));
        assert_ne!(nonces.of_client(&token), nonces.of_client(&other));
        assert_ne!(nonces.key(&token), nonces.key(&other));
        assert!(matches("abc", "abc") && !matches("abc", "abd") && !matches("abc", "ab"));
    }
}
