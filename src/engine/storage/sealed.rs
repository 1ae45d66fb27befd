//! Files that tell when a byte of them has changed: their first line has the checksum of the rest.

use sha2::{Digest, Sha256};

/// The first line of the file that holds `content`; `header` says what the file is, and ends with a space.
pub fn seal(header: &str, content: &[u8]) -> String {
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{header}{digest}\n")
}

/// The bytes of the file that holds `content`.
pub fn sealed(header: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = seal(header, content).into_bytes();
    bytes.extend_from_slice(content);
    bytes
}

/// What the file holds, or what is wrong with it.
pub fn unsealed<'a>(header: &str, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("has no header")?;
    let (line, content) = bytes.split_at(end + 1);
    if !line.starts_with(header.as_bytes()) {
        return Err("has an unknown header");
    }
    match line == seal(header, content).as_bytes() {
        true => Ok(content),
        false => Err("does not match its checksum"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_that_changed_is_noticed() {
        let bytes = sealed("foretell-test 1 ", b"content\n");
        assert_eq!(unsealed("foretell-test 1 ", &bytes).unwrap(), b"content\n");
        assert_eq!(unsealed("foretell-test 2 ", &bytes), Err("has an unknown header"));
        assert_eq!(unsealed("foretell-test 1 ", b"content"), Err("has no header"));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                unsealed("foretell-test 1 ", &damaged).unwrap_err();
            }
            unsealed("foretell-test 1 ", &bytes[..at]).unwrap_err();
        }
    }
}
