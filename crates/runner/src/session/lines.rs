//! Reading of lines of bounded length.

use linerate_wire::message::MAX_REPLY_BYTES;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::error::Fault;

/// The next line, without its newline.
///
/// # Errors
/// [`Fault::Closed`] when the peer has closed the connection, [`Fault::TooLong`] when the line exceeds the
/// bound.
pub(crate) async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, Fault> {
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf().await.map_err(|error| Fault::Io(error.to_string()))?;
        if chunk.is_empty() {
            return Err(Fault::Closed);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        if line.len() + part.len() >= MAX_REPLY_BYTES {
            return Err(Fault::TooLong);
        }
        line.extend_from_slice(part);
        let consumed = part.len() + usize::from(end.is_some());
        reader.consume(consumed);
        if end.is_some() {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn lines_end_and_have_a_bound() {
        let longest = vec![b'x'; MAX_REPLY_BYTES - 1];
        let mut bytes = b"one\n\n".to_vec();
        bytes.extend_from_slice(&longest);
        bytes.extend_from_slice(b"\ncut off");
        let mut reader = &bytes[..];
        assert_eq!(next_line(&mut reader).await.unwrap(), b"one");
        assert_eq!(next_line(&mut reader).await.unwrap(), b"");
        assert_eq!(next_line(&mut reader).await.unwrap(), longest);
        assert_eq!(next_line(&mut reader).await, Err(Fault::Closed));

        let endless = vec![b'x'; MAX_REPLY_BYTES];
        assert_eq!(next_line(&mut &endless[..]).await, Err(Fault::TooLong));
    }
}
