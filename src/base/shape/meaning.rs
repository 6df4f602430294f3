//! What a file says, apart from how it is written: comments, white space and the order of keys are no part of it.

use super::{Collector, Node, Tree, tree};
use crate::base::{fault::Source, text::hex};
use sha2::{Digest, Sha256};

/// `sha256:…` of what the file says. Files with the same digest say the same. `None` where it is not TOML.
pub fn meaning(source: &Source) -> Option<String> {
    let mut out = Collector::new(source);
    let (root, broken) = tree::parse(&mut out);
    if !broken.is_empty() {
        return None;
    }
    let mut said = Sha256::new();
    say(&root, &mut said);
    Some(format!("sha256:{}", hex(&said.finalize())))
}

/// Every value begins with its kind, and whatever has no length by its kind with its length, so that no two values are
/// written alike.
fn say(node: &Node, said: &mut Sha256) {
    match &node.tree {
        Tree::Text(text) => word(b't', text, said),
        Tree::Moment(text) => word(b'm', text, said),
        Tree::Huge(text) => word(b'h', text, said),
        Tree::Whole(number) => {
            said.update(b"w");
            said.update(number.to_be_bytes());
        }
        Tree::Real(number) => {
            said.update(b"r");
            said.update(number.to_be_bytes());
        }
        Tree::Flag(flag) => said.update([b'f', u8::from(*flag)]),
        Tree::List(items) => {
            said.update(b"l");
            said.update(items.len().to_be_bytes());
            items.iter().for_each(|item| say(item, said));
        }
        Tree::Table(entries) => {
            said.update(b"{");
            said.update(entries.len().to_be_bytes());
            for (key, entry) in entries {
                word(b'k', key, said);
                say(&entry.node, said);
            }
        }
    }
}

fn word(kind: u8, text: &str, said: &mut Sha256) {
    said.update([kind]);
    said.update(text.len().to_be_bytes());
    said.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        meaning(&Source { path: "x.toml".into(), text: text.into() })
    }

    #[test]
    fn only_what_is_said_counts() {
        let plain = of("a = 1\nb = [\"x\", \"y\"]\n[c]\nd = 2\n");
        assert!(plain.is_some());
        for same in [
            "# first\na = 1 # one\n\nb = [ 'x',\n  \"y\", ]\n[c]\nd=2",
            "c.d = 2\r\nb = [\"x\", \"y\"]\r\na = 0x1\r\n",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
        for other in [
            "a = 1\nb = [\"x\", \"y\"]\n[c]\nd = 3\n",
            "a = 1\nb = [\"y\", \"x\"]\n[c]\nd = 2\n",
            "a = 1.0\nb = [\"x\", \"y\"]\n[c]\nd = 2\n",
            "a = \"1\"\nb = [\"x\", \"y\"]\n[c]\nd = 2\n",
            "a = 1\nb = [\"xy\"]\n[c]\nd = 2\n",
            "a = 1\nb = [\"x\", \"y # z\"]\n[c]\nd = 2\n",
            "a = 1\nb = [\"x\", \"y\"]\n[c]\nd = 2\n[e]\n",
        ] {
            assert_ne!(of(other), plain, "{other}");
        }
        assert_eq!(of("a = "), None);
    }
}
