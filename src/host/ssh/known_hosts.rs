//! `known_hosts`: which keys a host may show. Agrees with `ssh-keygen -F` about which lines speak of a host.

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{
    Algorithm, PublicKey,
    ssh_key::{
        HashAlg,
        known_hosts::{HostPatterns, Marker},
    },
};
use sha1::Sha1;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What the files say about a key that a host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// No line of this host has a key of this type; `others` are lines with keys of other types.
    Unknown {
        others: Vec<(Algorithm, Place)>,
    },
    /// Another key of the same type is expected.
    Changed {
        fingerprint: String,
        place: Place,
    },
    Revoked {
        place: Place,
    },
}

/// One usable line.
#[derive(Debug)]
struct Line {
    number: usize,
    revoked: bool,
    hosts: HostPatterns,
    key: PublicKey,
}

/// A file, parsed. Lines that cannot be read are passed over, as OpenSSH does.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    path: PathBuf,
    lines: Vec<Line>,
    /// The lines that name a host plainly, so that a fleet's file is not searched from end to end for each host.
    plain: BTreeMap<String, Vec<usize>>,
    /// Lines with wildcards, negations or hashes.
    patterns: Vec<usize>,
}

impl KnownHosts {
    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let mut known = Self { path: path.to_owned(), ..Self::default() };
        for (index, text) in text.lines().enumerate() {
            let Some(line) = parse_line(index + 1, text) else { continue };
            let at = known.lines.len();
            match &line.hosts {
                HostPatterns::Patterns(patterns)
                    if !patterns.iter().any(|p| p.contains(['*', '?', '!'])) =>
                {
                    for name in patterns {
                        known.plain.entry(name.to_ascii_lowercase()).or_default().push(at);
                    }
                }
                HostPatterns::Patterns(_) | HostPatterns::HashedName { .. } => {
                    known.patterns.push(at);
                }
            }
            known.lines.push(line);
        }
        known
    }

    /// The lines that speak of a host, as `host` or `[host]:port`.
    fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        let plain = self.plain.get(name).into_iter().flatten();
        let patterns = self.patterns.iter().filter(|at| speaks_of(&self.lines[**at].hosts, name));
        plain.chain(patterns).map(|at| &self.lines[*at])
    }

    /// The numbers of the lines that speak of a host.
    #[cfg(test)]
    fn line_numbers(&self, name: &str) -> Vec<usize> {
        let mut numbers: Vec<usize> =
            self.find(&name.to_ascii_lowercase()).map(|line| line.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn place(&self, line: &Line) -> Place {
        Place { file: self.path.clone(), line: line.number }
    }
}

fn parse_line(number: usize, text: &str) -> Option<Line> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    let mut words = text.split_ascii_whitespace();
    let mut first = words.next()?;
    let mut revoked = false;
    if first.starts_with('@') {
        match first.parse::<Marker>().ok()? {
            Marker::Revoked => revoked = true,
            // Host certificates are not supported: an authority's key is no host's key.
            Marker::CertAuthority => return None,
        }
        first = words.next()?;
    }
    let hosts = first.parse().ok()?;
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
    Some(Line { number, revoked, hosts, key })
}

/// Whether a line's patterns match a host. One negation that matches outweighs all others.
fn speaks_of(hosts: &HostPatterns, name: &str) -> bool {
    match hosts {
        HostPatterns::HashedName { salt, hash } => {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
            mac.update(name.as_bytes());
            mac.verify_slice(hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                let (negated, pattern) = match pattern.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, pattern.as_str()),
                };
                if matches_glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                    if negated {
                        return false;
                    }
                    found = true;
                }
            }
            found
        }
    }
}

/// `*` and `?`, as OpenSSH has them. Linear in both: it goes back only to the last star.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match star {
                None => return false,
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// How `known_hosts` names a host and port.
pub(super) fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Judges a key by all files.
pub(super) fn judge(files: &[Arc<KnownHosts>], name: &str, key: &PublicKey) -> Verdict {
    let mut known = false;
    let mut changed = None;
    let mut others = Vec::new();
    for file in files {
        for line in file.find(name) {
            // The comment is part of `==`, so only the key itself is compared.
            let same = line.key.key_data() == key.key_data();
            if line.revoked {
                if same {
                    return Verdict::Revoked { place: file.place(line) };
                }
            } else if same {
                known = true;
            } else if line.key.algorithm() == key.algorithm() {
                changed.get_or_insert_with(|| (fingerprint(&line.key), file.place(line)));
            } else {
                others.push((line.key.algorithm(), file.place(line)));
            }
        }
    }
    if known {
        return Verdict::Known;
    }
    match changed {
        Some((fingerprint, place)) => Verdict::Changed { fingerprint, place },
        None => Verdict::Unknown { others },
    }
}

/// The types of the keys that are known of a host: they are asked for first, else a host would show another one.
pub(super) fn known_types(files: &[Arc<KnownHosts>], name: &str) -> Vec<Algorithm> {
    let mut types: Vec<Algorithm> = Vec::new();
    for line in files.iter().flat_map(|file| file.find(name)).filter(|line| !line.revoked) {
        let algorithm = line.key.algorithm();
        if !types.contains(&algorithm) {
            types.push(algorithm);
        }
    }
    types
}

pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// By which a change of a file is noticed.
type Stamp = (u64, u64, i64, i64);

/// Reads files once, and again when they change.
#[derive(Debug, Default)]
pub(super) struct Files {
    read: Mutex<BTreeMap<PathBuf, (Stamp, Arc<KnownHosts>)>>,
}

impl Files {
    /// The file as it is now. One that does not exist is empty; one that cannot be read is an error.
    pub(super) fn load(&self, path: &Path) -> io::Result<Arc<KnownHosts>> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Arc::new(KnownHosts { path: path.to_owned(), ..KnownHosts::default() }));
            }
            Err(error) => return Err(error),
        };
        let stamp = (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, known)) = read.get(path)
            && *seen == stamp
        {
            return Ok(Arc::clone(known));
        }
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let known = Arc::new(KnownHosts::parse(path, &text));
        read.insert(path.to_owned(), (stamp, Arc::clone(&known)));
        Ok(known)
    }
}

/// Writes down a new host's key, unless another process did so meanwhile. Returns the verdict that holds now.
pub(super) fn append(path: &Path, name: &str, key: &PublicKey) -> io::Result<Verdict> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
    {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file =
        fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // Held until the file is closed. Without it two writers could both find the host absent.
    file.lock()?;
    let mut bytes = Vec::new();
    file.seek(io::SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let now = KnownHosts::parse(path, &String::from_utf8_lossy(&bytes));
    let verdict = judge(&[Arc::new(now)], name, key);
    let Verdict::Unknown { others } = &verdict else { return Ok(verdict) };
    if !others.is_empty() {
        return Ok(verdict);
    }
    let mut bare = key.clone();
    bare.set_comment("");
    let line = bare.to_openssh().map_err(io::Error::other)?;
    let gap = if bytes.last().is_some_and(|byte| *byte != b'\n') { "\n" } else { "" };
    // One write, so that a reader without the lock never sees half a line.
    file.write_all(format!("{gap}{name} {}\n", line.trim()).as_bytes())?;
    Ok(Verdict::Known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn verdict(text: &str, name: &str, shown: &str) -> Verdict {
        let file = KnownHosts::parse(Path::new("kh"), text);
        judge(&[Arc::new(file)], name, &key(shown))
    }

    /// The lines that `ssh-keygen -F` finds; authorities are left out, as ours are.
    fn oracle(file: &Path, name: &str) -> Option<Vec<usize>> {
        let output = Command::new("ssh-keygen").args(["-F", name, "-f"]).arg(file).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = Vec::new();
        for found in text.lines().filter(|line| line.starts_with("# Host ")) {
            let (_, rest) = found.split_once(" found: line ").unwrap();
            let mut words = rest.split(' ');
            let number = words.next().unwrap().parse().unwrap();
            if words.next() != Some("CA") {
                lines.push(number);
            }
        }
        lines.sort_unstable();
        Some(lines)
    }

    fn agrees(path: &Path, names: &[String]) -> usize {
        let text = fs::read_to_string(path).unwrap();
        let known = KnownHosts::parse(path, &text);
        let mut found = 0;
        for name in names {
            let Some(expected) = oracle(path, name) else {
                let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
                assert!(!on_ci, "no ssh-keygen");
                eprintln!("SKIPPED: no ssh-keygen here: apt-get install openssh-client");
                return usize::MAX;
            };
            assert_eq!(known.line_numbers(name), expected, "{name} in {}", path.display());
            found += expected.len();
        }
        found
    }

    #[test]
    fn lines_are_found_as_ssh_keygen_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let text = format!(
            "# comment\n\
             web-01.example,10.0.0.1 {A} somebody\n\
             *.example,!web-02.example {B}\n\
             \t[web-03.example]:2222\t{A}\n\
             @revoked web-?? {B}\n\
             @cert-authority *.example {A}\n\
             @strange web-01.example {A}\n\
             WEB-04.Example {A}\n\
             garbage\n\
             web-05 ssh-ed25519\n\
             web-06 ssh-ed25519 AAAA\n\
             [*]:22?? {B}\n\
             2001:db8::1 {A}\n\
             web*0*,x,* {A}\n\
             \n\
             !* {A}\n"
        );
        fs::write(&path, text).unwrap();
        let names = [
            "web-01.example",
            "WEB-01.EXAMPLE",
            "10.0.0.1",
            "web-02.example",
            "web-03.example",
            "[web-03.example]:2222",
            "[web-03.example]:22",
            "web-07",
            "web-4",
            "web-04.example",
            "web-05",
            "2001:db8::1",
            "[x]:2299",
            "x",
        ];
        let names = names.map(str::to_owned);
        assert!(agrees(&path, &names) > 20);
        // The same, hashed: hashing leaves patterns as they are and takes several names apart.
        let plain = format!("web-01.example,10.0.0.1 {A}\n[web-03.example]:2222 {B}\n");
        fs::write(&path, plain).unwrap();
        let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path).status();
        if hashed.is_ok_and(|status| status.success()) {
            assert!(fs::read_to_string(&path).unwrap().starts_with("|1|"));
            // Its -F hashes a name as it is typed; ssh itself, as we, in small letters.
            let small: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(agrees(&path, &small), 4);
        }
    }

    #[test]
    fn files_from_the_field_are_read_as_ssh_keygen_reads_them() {
        let Some(samples) = std::env::var_os("FLEETLIFT_SAMPLES") else {
            eprintln!(
                "SKIPPED: FLEETLIFT_SAMPLES names no folder with known_hosts/* from the field"
            );
            return;
        };
        let entries = fs::read_dir(Path::new(&samples).join("known_hosts")).unwrap();
        for path in entries.flatten().map(|entry| entry.path()) {
            let text = fs::read_to_string(&path).unwrap();
            let mut names: Vec<String> = Vec::new();
            for line in text.lines().filter(|l| !l.starts_with(['#', '@', '|'])) {
                let hosts = line.split_whitespace().next().unwrap_or_default();
                names.extend(
                    hosts.split(',').filter(|h| !h.contains(['*', '?', '!'])).map(str::to_owned),
                );
            }
            names.retain(|name| !name.is_empty());
            names.dedup();
            // Each name starts a process: a spread of them is enough.
            let step = names.len() / 40 + 1;
            let some: Vec<String> = names.into_iter().step_by(step).collect();
            assert!(agrees(&path, &some) > 0, "{}", path.display());
        }
    }

    #[test]
    fn verdicts() {
        let place = |line| Place { file: "kh".into(), line };
        assert_eq!(verdict(&format!("h {A}\n"), "h", A), Verdict::Known);
        assert_eq!(verdict("", "h", A), Verdict::Unknown { others: vec![] });
        let changed = verdict(&format!("h {B}\n"), "h", A);
        assert!(matches!(changed, Verdict::Changed { place: p, .. } if p == place(1)));
        // A key that is being replaced: both are listed, in any order.
        assert_eq!(verdict(&format!("h {B}\nh {A}\n"), "h", A), Verdict::Known);
        // Revoked outweighs known, wherever it stands, and is of no use to other keys.
        let revoked = verdict(&format!("h {A}\n@revoked * {A}\n"), "h", A);
        assert_eq!(revoked, Verdict::Revoked { place: place(2) });
        assert_eq!(verdict(&format!("@revoked * {A}\nh {B}\n"), "h", B), Verdict::Known);
        // A comment is no part of a key.
        assert_eq!(verdict(&format!("h {A} me@here\n"), "h", &format!("{A} you")), Verdict::Known);
    }

    #[test]
    fn globs_do_not_explode() {
        assert!(matches_glob(b"*a*b?", b"xxaxxbc"));
        assert!(!matches_glob(b"*a*b?", b"xxaxxb"));
        let long = vec![b'a'; 10_000];
        assert!(!matches_glob(b"*a*a*a*a*a*a*a*a*b", &long));
    }

    #[test]
    fn appending_looks_again_under_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/known_hosts");
        assert_eq!(append(&path, "h", &key(A)).unwrap(), Verdict::Known);
        assert_eq!(append(&path, "h", &key(A)).unwrap(), Verdict::Known);
        assert!(matches!(append(&path, "h", &key(B)).unwrap(), Verdict::Changed { .. }));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("h {A}\n"));
    }
}
