//! No secret is in a saved plan.

use super::{HOSTS, PLAYBOOK, WHAT, apply, planned, save};
use std::fs;

/// With what tells it apart in each of its forms.
const CANARY: &str = "C4n4ry/w1th+s0me=signs&more?";
/// A password that somebody wrote down, which is not a secret for fleetlift, and is not shown all the same.
const WRITTEN: &str = "wr1tten-d0wn";

#[test]
fn no_secret_is_in_a_saved_plan_in_any_form() {
    let mut desk = planned();
    desk.set("TOKEN_A", CANARY);
    desk.set("SUDO_A", CANARY);
    desk.write("secret", format!("{CANARY}\n"));
    let hosts = format!(
        "{}\n[vars.from_file]\nsecret = \"file:{}\"\n[vars.from_command]\nsecret = \"command:cat {}\"\n",
        HOSTS.replace(
            "[vars]\n",
            &format!("[vars]\ndb_password = \"{WRITTEN}\"\ndb = {{ token = \"{WRITTEN}\" }}\n")
        ),
        desk.path("secret").display(),
        desk.path("secret").display(),
    );
    desk.write("fleet/hosts.toml", &hosts);
    let playbook = format!(
        "{PLAYBOOK}\n[[verify]]\nname = \"more\"\nrun = \"echo {{{{ from_file | quote }}}} {{{{ from_command }}}} >/x\"\n"
    );
    desk.write("play/playbook.toml", playbook);
    let said = save(&desk, &[&WHAT[..], &["-v"]].concat(), "my.plan");
    let saved = fs::read(desk.path("my.plan")).unwrap();
    let dry = desk.say(&["apply", "--dry-run", "-vv", "my.plan"]).exits(0);
    // Each secret changed by its place, and the written one by its value.
    let other = hosts.replace("cat ", "tail -n 1 ").replace(WRITTEN, "wr1tten-0therw1se");
    desk.write("fleet/hosts.toml", other);
    let stale = apply(&desk).exits(4);
    assert!(
        stale.err.contains("variable db_password has another value (not shown)"),
        "{}",
        stale.err
    );
    assert!(stale.err.contains("variable from_command secret command:cat"), "{}", stale.err);
    let texts = [said.out, said.err, dry.out, dry.err, stale.out, stale.err];
    let texts = texts.iter().map(|text| text.as_bytes()).chain([&saved[..]]);
    for text in texts {
        for form in forms(CANARY).into_iter().chain(forms(WRITTEN)).chain(["0therw1se".into()]) {
            let found = text.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form}: {}", String::from_utf8_lossy(text));
        }
    }
}

/// A secret as it is, and as programs write it: in base64 at each offset, in hexadecimal, in a URL, in JSON.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b == b'-' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    let mut forms = vec![secret.to_owned(), hex, secret.bytes().map(url).collect()];
    forms.push(secret.replace('/', "\\/"));
    for offset in 0..3 {
        // The digits that depend on the secret alone, whatever stands before and after it.
        let padded = [&vec![0; offset][..], secret.as_bytes()].concat();
        let whole = base64(&padded[..padded.len() / 3 * 3]);
        forms.push(whole[if offset == 0 { 0 } else { 4 }..].to_owned());
        forms.push(forms.last().unwrap().replace('+', "-").replace('/', "_"));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let triple = |t: &[u8]| u32::from(t[0]) << 16 | u32::from(t[1]) << 8 | u32::from(t[2]);
    let digits = |n: u32| [18, 12, 6, 0].map(|by| char::from(DIGITS[(n >> by & 63) as usize]));
    bytes.chunks_exact(3).flat_map(|t| digits(triple(t))).collect()
}

#[test]
fn the_forms_of_a_secret_are_what_they_are_called() {
    assert_eq!(base64(b"Man"), "TWFu");
    assert!(forms("secret!").contains(&"c2VjcmV0".to_owned()));
}
