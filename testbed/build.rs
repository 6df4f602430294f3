//! The stages are embedded by a macro that does not notice new files; this does.

fn main() {
    println!("cargo::rerun-if-changed=stage");
}
