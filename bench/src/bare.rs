//! The floor: what the same SSH library costs with nothing around it. Connect, check the host's key, log in, run commands
//! one after the other with their scripts on standard input, collect what they print and how they end, say goodbye.

use crate::{Result, number, serve, value};
use russh::{
    ChannelMsg, Disconnect, Preferred, cipher,
    client::{self, Handle, Handler},
    keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate},
};
use std::{borrow::Cow, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};

/// What every connection shares.
struct Work {
    address: String,
    port: u16,
    key: Arc<PrivateKey>,
    host_key: PublicKey,
    config: Arc<client::Config>,
    /// The script that each command gets on its standard input.
    script: String,
    commands: usize,
    upload: Vec<u8>,
}

struct OneHost {
    expected: PublicKey,
}

impl Handler for OneHost {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> std::result::Result<bool, Self::Error> {
        Ok(match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                key.key_data() == self.expected.key_data()
            }
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// The loop's own process.
pub fn main(arguments: &[String]) -> Result<()> {
    let text = |name: &str| value(arguments, name).ok_or_else(|| format!("{name} is missing"));
    let key = std::fs::read_to_string(text("--key")?)?;
    let preferred = Preferred {
        cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305]),
        ..Preferred::DEFAULT
    };
    let config = client::Config { nodelay: true, preferred, ..client::Config::default() };
    let work = Work {
        address: text("--address")?.to_owned(),
        port: text("--port")?.parse()?,
        key: Arc::new(PrivateKey::from_openssh(key)?),
        host_key: PublicKey::from_openssh(&std::fs::read_to_string(text("--host-key")?)?)?,
        config: Arc::new(config),
        script: text("--script")?.to_owned(),
        commands: number(arguments, "--commands")?,
        upload: vec![b'x'; number(arguments, "--upload")?],
    };
    let (hosts, parallel) = (number(arguments, "--hosts")?, number(arguments, "--parallel")?);
    serve::raise_files();
    // One thread is what costs least.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(all(Arc::new(work), hosts, parallel))
}

async fn all(work: Arc<Work>, hosts: usize, parallel: usize) -> Result<()> {
    let places = Arc::new(Semaphore::new(parallel));
    let mut tasks = JoinSet::new();
    for _ in 0..hosts {
        let place = Arc::clone(&places).acquire_owned().await?;
        let work = Arc::clone(&work);
        tasks.spawn(async move {
            let done = one(&work).await;
            drop(place);
            done.map_err(|error| error.to_string())
        });
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn one(work: &Work) -> Result<()> {
    let handler = OneHost { expected: work.host_key.clone() };
    let at = (work.address.as_str(), work.port);
    let mut session = client::connect(Arc::clone(&work.config), at, handler).await?;
    let key = PrivateKeyWithHashAlg::new(Arc::clone(&work.key), None);
    if !session.authenticate_publickey("admin", key).await?.success() {
        return Err("the key was refused".into());
    }
    for _ in 0..work.commands {
        run(&session, work.script.as_bytes()).await?;
    }
    if !work.upload.is_empty() {
        run(&session, &work.upload).await?;
    }
    session.disconnect(Disconnect::ByApplication, "", "").await?;
    // How the connection ends is no part of the work; that it has ended is.
    let _ = session.await;
    Ok(())
}

async fn run(session: &Handle<OneHost>, stdin: &[u8]) -> Result<()> {
    let mut channel = session.channel_open_session().await?;
    channel.exec(false, "sh -s").await?;
    channel.data(stdin).await?;
    channel.eof().await?;
    let (mut code, mut output) = (None, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            // As the product does it: a megabyte of a long output is kept.
            ChannelMsg::Data { data } if output.len() < 1 << 20 => output.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
            _ => {}
        }
    }
    match code {
        Some(0) if !output.is_empty() => Ok(()),
        code => Err(format!("a command ended with {code:?} and {} bytes", output.len()).into()),
    }
}
