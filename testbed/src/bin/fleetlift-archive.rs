//! The archive of the real hosts, by hand: see `testbed/real`.

use fleetlift_testbed::archive::{AptHelper, Archive, Server};
use std::{
    collections::BTreeMap,
    error::Error,
    fs::File,
    io::Write as _,
    net::TcpListener,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

const USAGE: &str = "\
Usage: fleetlift-archive --store DIR --source NAME=URL... [--listen ADDRESS] [--network FILE]

Fetches files of Debian archives once, by apt's own means, keeps them, and hands them to many hosts: /NAME/x is URL/x.
Prints where it listens, then a line for each request.

  --store DIR        where files are kept. A file `frozen` in it: what is kept is all there is
  --faults FILE      what is broken on purpose (default `faults` in the store): lines of refuse, cut, corrupt or hang, a part
                     of the addresses, and who alone is answered so
  --source NAME=URL  an archive and its name here; may be repeated
  --listen ADDRESS   where to listen (default 127.0.0.1:0)
  --network FILE     in which network namespace to listen; files are fetched in the one where it was started
";

struct Options {
    store: PathBuf,
    faults: Option<PathBuf>,
    sources: BTreeMap<String, String>,
    listen: String,
    network: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprint!("error: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut store, mut faults, mut sources) = (None, None, BTreeMap::new());
        let (mut listen, mut network) = ("127.0.0.1:0".to_owned(), None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--store" => store = Some(PathBuf::from(value()?)),
                "--faults" => faults = Some(PathBuf::from(value()?)),
                "--source" => {
                    let value = value()?;
                    let (name, url) =
                        value.split_once('=').ok_or(format!("'{value}' is not NAME=URL"))?;
                    sources.insert(name.to_owned(), url.to_owned());
                }
                "--listen" => listen = value()?,
                "--network" => network = Some(PathBuf::from(value()?)),
                _ => return Err(format!("unknown argument '{argument}'")),
            }
        }
        let store = store.ok_or("--store is missing")?;
        if sources.is_empty() {
            return Err("--source is missing".into());
        }
        Ok(Self { store, faults, sources, listen, network })
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let listener = match &options.network {
        Some(network) => listen_within(network, &options.listen)?,
        None => TcpListener::bind(&options.listen)?,
    };
    let mut archive = Archive::new(options.store, options.sources, Box::new(AptHelper));
    if let Some(faults) = options.faults {
        archive = archive.with_faults(faults);
    }
    let server = Server::new(listener, archive);
    println!("listens on {}", server.address()?);
    std::io::stdout().flush()?;
    Ok(server.run()?)
}

/// Listens in another network namespace. A socket stays where it was made, so a thread of its own goes there, makes it and
/// ends; all others stay where files can be fetched.
fn listen_within(network: &Path, address: &str) -> Result<TcpListener, Box<dyn Error>> {
    let network = File::open(network).map_err(|error| format!("{}: {error}", network.display()))?;
    let listener = thread::scope(|scope| {
        scope
            .spawn(|| {
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(network.as_fd(), Some(kind))?;
                TcpListener::bind(address)
            })
            .join()
    });
    match listener {
        Ok(listener) => Ok(listener?),
        Err(_) => Err("the thread that was to listen has panicked".into()),
    }
}
