//! Records of TLS 1.3 under traffic keys (RFC 8446 section 5): sealed where they are written, opened where they were read.
use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, Error, InvalidMessage};

/// The most content in a record (RFC 8446 section 5.1).
pub(super) const MAX_CONTENT: usize = 16 * 1024;
/// Type, version, length.
pub(super) const HEADER: usize = 5;
/// The longest ciphertext (RFC 8446 section 5.2).
const MAX_CIPHERTEXT: usize = MAX_CONTENT + 256;
const TAG: usize = 16;
/// What a record adds to its content: header, content type, tag.
pub(super) const OVERHEAD: usize = HEADER + 1 + TAG;
/// How many records AES-GCM may seal under one key (RFC 8446 section 5.5), and some fewer.
const AES_GCM_RECORDS: u64 = (1 << 24) - 1024;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The keys of one direction.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    /// How many records may be sealed.
    limit: u64,
}

impl Keys {
    /// From what rustls agreed on: the next sequence number, and the secrets.
    pub fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Keys, Error> {
        let (algorithm, key, iv, limit) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv, AES_GCM_RECORDS),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv, AES_GCM_RECORDS),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv, u64::MAX)
            }
            _ => return Err(Error::General("a cipher suite that is not known".to_owned())),
        };
        let unfit = || Error::General("traffic keys of an unexpected length".to_owned());
        let iv = iv.as_ref().try_into().map_err(|_| unfit())?;
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unfit())?;
        Ok(Keys { key: LessSafeKey::new(key), iv, sequence, limit })
    }

    /// Whether other keys have to be agreed on before more is sealed.
    pub fn are_used_up(&self) -> bool {
        self.sequence >= self.limit
    }

    /// Append a record. `content` must not be longer than [`MAX_CONTENT`].
    pub fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let header = header(content.len() + 1 + TAG)?;
        let start = out.len() + HEADER;
        out.reserve(OVERHEAD + content.len());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.push(kind);
        let nonce = self.next_nonce()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..])
            .map_err(|_| Error::EncryptError)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Open a record's body in place: its content and the type of that.
    pub fn open<'a>(&mut self, header: [u8; HEADER], body: &'a mut [u8]) -> Result<(u8, &'a [u8]), Error> {
        let Some(length) = body.len().checked_sub(TAG) else { return Err(Error::DecryptError) };
        let (sealed, tag) = body.split_at_mut(length);
        let nonce = self.next_nonce()?;
        let opened = self
            .key
            .open_in_place_separate_tag(nonce, Aad::from(header), tag, sealed)
            .map_err(|_| Error::DecryptError)?;
        // Zeros after the type are padding (RFC 8446 section 5.4).
        let Some(end) = opened.iter().rposition(|byte| *byte != 0) else {
            return Err(Error::InvalidMessage(InvalidMessage::InvalidContentType));
        };
        if end > MAX_CONTENT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((opened[end], &opened[..end]))
    }

    /// RFC 8446 section 5.3.
    fn next_nonce(&mut self) -> Result<Nonce, Error> {
        let mut nonce = self.iv;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence = self.sequence.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    #[cfg(test)]
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }
}

/// The header of a record with so many bytes after it.
fn header(length: usize) -> Result<[u8; HEADER], Error> {
    if length > MAX_CIPHERTEXT {
        return Err(Error::EncryptError);
    }
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    Ok([APPLICATION_DATA, 3, 3, high, low])
}

/// The first record's header and the length of what follows it; `None` while the record is incomplete.
pub(super) fn whole_record(bytes: &[u8]) -> Result<Option<([u8; HEADER], usize)>, Error> {
    let Some(&header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > MAX_CIPHERTEXT {
        return Err(Error::PeerSentOversizedRecord);
    }
    Ok((bytes.len() >= HEADER + length).then_some((header, length)))
}
