//! Draws that depend on the seed and on what they are for, never on the order in which they are made.

use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The source of every draw of one fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(pub u64);

impl Seed {
    /// 32 bytes for a purpose.
    pub(crate) fn bytes(self, purpose: &str, of: &str, count: u64) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.0.to_be_bytes());
        for part in [purpose, of] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.update(count.to_be_bytes());
        digest.finalize().into()
    }

    /// A number below `limit`, which must not be 0.
    pub(crate) fn below(self, limit: u64, purpose: &str, of: &str, count: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes(purpose, of, count);
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % limit
    }

    /// A host key. It guards nothing but a simulated host, so it may be known from the seed.
    pub(crate) fn host_key(self, host: &str, generation: u64) -> PrivateKey {
        let seed = self.bytes("host key", host, generation);
        PrivateKey::from(Ed25519Keypair::from_seed(&seed))
    }

    /// What `/etc/machine-id` holds.
    pub(crate) fn machine_id(self, host: &str) -> String {
        hex(&self.bytes("machine id", host, 0)[..16])
    }

    /// What `/proc/sys/kernel/random/boot_id` holds after the boot with this number: a UUID of version 4.
    pub(crate) fn boot_id(self, host: &str, boot: u64) -> String {
        let mut bytes = self.bytes("boot id", host, boot);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let text = hex(&bytes[..16]);
        [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_purpose_and_count_alone() {
        let seed = Seed(7);
        assert_eq!(seed.boot_id("web-01", 1), seed.boot_id("web-01", 1));
        assert_ne!(seed.boot_id("web-01", 1), seed.boot_id("web-01", 2));
        assert_ne!(seed.boot_id("web-01", 1), seed.boot_id("web-02", 1));
        assert_ne!(seed.boot_id("web-01", 1), Seed(8).boot_id("web-01", 1));
        assert_ne!(seed.bytes("ab", "c", 0), seed.bytes("a", "bc", 0));
    }

    #[test]
    fn a_boot_id_is_a_version_4_uuid() {
        let id = Seed(1).boot_id("db-01", 3);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}
