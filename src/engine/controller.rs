//! The machine that the controller runs on, as steps see it: scripts of `local`, folders for downloads, ports seen from here.

use crate::host::{BoxFuture, Exit, OutputSink, Stream};
use std::{io, path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt, process::Command};

/// A script for the controller's own machine.
#[derive(Clone, Debug)]
pub struct LocalScript {
    /// POSIX sh; its standard input is empty.
    pub text: String,
    pub env: Vec<(String, String)>,
    /// After this long its process group is killed.
    pub timeout: Duration,
}

/// What an HTTP server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub text: String,
}

/// An answer of more bytes than this is not read: a query has a few series, not a fleet of them.
const PAGE_BYTES_MAX: u64 = 4 << 20;
/// So many times a server may send us on.
const REDIRECTS_MAX: u32 = 3;

/// What steps ask of the machine that the controller runs on.
pub trait Controller: Send + Sync {
    /// Runs a script to its end. An error means that it has not begun.
    fn run<'a>(
        &'a self,
        script: &'a LocalScript,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, io::Result<Exit>>;

    /// Makes a folder, with those above it.
    fn make_folder<'a>(&'a self, folder: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Whether a TCP port takes connections from here.
    fn answers<'a>(&'a self, address: &'a str, port: u16, limit: Duration) -> BoxFuture<'a, bool>;

    /// Asks an HTTP server. An error says why there is no answer.
    fn get<'a>(&'a self, url: &'a str, limit: Duration) -> BoxFuture<'a, Result<Page, String>>;
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Controller for ThisMachine {
    fn run<'a>(
        &'a self,
        script: &'a LocalScript,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, io::Result<Exit>> {
        Box::pin(run(script, output))
    }

    fn make_folder<'a>(&'a self, folder: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(tokio::fs::create_dir_all(folder))
    }

    fn answers<'a>(&'a self, address: &'a str, port: u16, limit: Duration) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let tried = tokio::net::TcpStream::connect((address, port));
            matches!(tokio::time::timeout(limit, tried).await, Ok(Ok(_)))
        })
    }

    fn get<'a>(&'a self, url: &'a str, limit: Duration) -> BoxFuture<'a, Result<Page, String>> {
        let url = url.to_owned();
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || get(&url, limit));
            asked.await.unwrap_or_else(|error| Err(error.to_string()))
        })
    }
}

/// Certificates are those of the machine: a company's own server is known by its own authority. Proxies are for the world
/// outside, and not for what watches a fleet.
fn get(url: &str, limit: Duration) -> Result<Page, String> {
    let roots = ureq::tls::RootCerts::PlatformVerifier;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .proxy(None)
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
        .build()
        .into();
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(PAGE_BYTES_MAX).lossy_utf8(true);
    let text = body.read_to_string().map_err(|error| error.to_string())?;
    Ok(Page { status, text })
}

async fn run(script: &LocalScript, output: &mut dyn OutputSink) -> io::Result<Exit> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&script.text)
        .envs(script.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let follow = async {
        let (mut out, mut err) = (out, err);
        let (mut one, mut two) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        while out.is_some() || err.is_some() {
            tokio::select! { biased;
                n = read(&mut out, &mut one) => output.take(Stream::Out, &one[..n]),
                n = read(&mut err, &mut two) => output.take(Stream::Err, &two[..n]),
            }
        }
        child.wait().await
    };
    match tokio::time::timeout(script.timeout, follow).await {
        Err(_) => Ok(Exit::TimedOut { stopped: group.is_some_and(end_group) }),
        Ok(ended) => {
            let status = ended?;
            Ok(status.code().map_or_else(|| Exit::Signal(status.to_string()), Exit::Code))
        }
    }
}

/// Reads from a pipe until it ends; an ended pipe is taken away and never ready again.
async fn read<R: AsyncReadExt + Unpin>(pipe: &mut Option<R>, buffer: &mut [u8]) -> usize {
    let Some(open) = pipe else { return std::future::pending().await };
    match open.read(buffer).await {
        Ok(n) if n > 0 => n,
        Ok(_) | Err(_) => {
            *pipe = None;
            0
        }
    }
}

/// Kills the script's process group.
fn end_group(group: u32) -> bool {
    let Some(group) = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_ok()
}
