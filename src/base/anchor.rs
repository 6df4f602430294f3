//! Where paths in a file begin: at the file's own folder, or at the operator's home.

use super::{fault::Refusal, shape::Form, value::SecretSource};
use std::path::{Component, Path, PathBuf};

/// What paths are relative to. Nothing is read from the machine here; who makes an anchor tells it.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The folder of the file, absolute.
    pub folder: PathBuf,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
}

impl Anchor {
    /// The path as the operator means it.
    pub fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            // Without a home the path stays as it is, and is not found under this name, which says why.
            (Some(_), None) => PathBuf::from(text),
            (None, _) => self.folder.join(text.strip_prefix("./").unwrap_or(text)),
        }
    }

    /// The source of a secret, with its path made absolute.
    pub fn secret(&self, text: &str) -> Result<SecretSource, Refusal> {
        Ok(match parse_secret(text)? {
            SecretSource::File(path) => {
                SecretSource::File(self.path(&path).to_string_lossy().into_owned())
            }
            other @ (SecretSource::Env(_) | SecretSource::Command(_)) => other,
        })
    }
}

/// A path on the controller.
pub static PATH: Form = Form { what: "a path", example: "~/.ssh/id_ed25519", check: check_path };

/// Where a secret is read from.
pub static SECRET: Form = Form {
    what: "the source of a secret",
    example: "env:SSH_PASSWORD",
    check: |text| parse_secret(text).map(drop),
};

fn check_path(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new("a path must not be empty"));
    }
    if text.contains('\0') {
        return Err(Refusal::new("a path must not contain a NUL character"));
    }
    if text.starts_with('~') && !text.starts_with("~/") {
        return Err(Refusal::new("only `~/`, your own home, is known here")
            .hint("write the path of another user's home in full"));
    }
    Ok(())
}

fn parse_secret(text: &str) -> Result<SecretSource, Refusal> {
    let hint = "\"env:NAME\", \"file:PATH\" or \"command:COMMAND LINE\"";
    let Some((kind, rest)) = text.split_once(':') else {
        return Err(Refusal::new(
            "a secret is never written here itself, only where it is read from",
        )
        .hint(hint));
    };
    let missing = |what: &str| Refusal::new(format!("{what} is missing after `{kind}:`"));
    let bad = |c: char| c == '\0' || c == '\n';
    if rest.contains(bad) {
        return Err(Refusal::new("the source of a secret is one line"));
    }
    let source = match kind {
        "env" if rest.is_empty() => return Err(missing("a variable's name")),
        "env" if rest.contains(|c: char| c == '=' || c.is_whitespace()) => {
            return Err(Refusal::new(format!("`{rest}` is not the name of a variable")));
        }
        "env" => SecretSource::Env(rest.to_owned()),
        "file" => {
            check_path(rest)?;
            SecretSource::File(rest.to_owned())
        }
        "command" if rest.trim().is_empty() => return Err(missing("a command line")),
        "command" => SecretSource::Command(rest.to_owned()),
        "age" => {
            return Err(Refusal::new("`age:` is not in this version")
                .hint("decrypt with a command: \"command:age -d -i KEY FILE\""));
        }
        // What stands before the colon may be a part of the secret itself, so it is not repeated.
        _ => {
            return Err(Refusal::new("this is not the source of a secret").hint(hint));
        }
    };
    Ok(source)
}

/// The one absolute name of a path, wherever it is said from: without `.`, and without `..` unless what stands before it
/// is a link, since what is above a link depends on where it leads. Links are kept: they may lead elsewhere tomorrow.
pub fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut settled = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir if !settled.is_symlink() && !settled.ends_with("..") => {
                settled.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => settled.push(part),
            Component::Normal(name) => settled.push(name),
        }
    }
    settled
}

/// The folder that a file is in; the present one where its path does not say.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_absolute_name_and_links_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        for (said, meant) in [
            ("a/b/hosts.toml", "a/b/hosts.toml"),
            ("./a/./b/", "a/b"),
            ("a/b/../../a/b/x", "a/b/x"),
            ("a/../gone/../a", "a"),
            ("link/x", "link/x"),
            ("link/../x", "link/../x"),
            ("link/../../x", "link/../../x"),
        ] {
            assert_eq!(absolute(&root.join(said)), root.join(meant), "{said}");
        }
        assert_eq!(absolute(Path::new("/../x")), Path::new("/x"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("x/../y")), here.join("y"));
    }
}
