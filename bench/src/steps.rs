//! Durable steps over one warm connection, with nothing of a run around them: no journal, no plan, no second thread. What a
//! plain exec channel costs beside them is the bare loop's to say.

use crate::{Result, number, serve, value};
use fleetlift::{
    host::{
        Exit, Holder, KeyTrust, OutputSink, Script, Stream, Target, Transport,
        ssh::{SshOptions, SshTransport},
    },
    inventory::Connection,
};
use std::{path::Path, sync::Arc, time::Duration};

/// Keeps what a step prints, as the bare loop does.
#[derive(Default)]
struct Kept(Vec<u8>);

impl OutputSink for Kept {
    fn take(&mut self, _: Stream, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn may_block(&self) -> bool {
        false
    }
}

/// The process that runs them: each host in turn has its connection, and on it all its steps.
pub fn main(arguments: &[String]) -> Result<()> {
    let text = |name: &str| value(arguments, name).ok_or_else(|| format!("{name} is missing"));
    let dir = Path::new(text("--dir")?);
    let connection = Connection {
        port: text("--port")?.parse()?,
        user: Some("admin".to_owned()),
        identities: vec![dir.join("id_ed25519")],
        agent: false,
        known_hosts: vec![dir.join("known_hosts")],
        sudo: false,
        ..Connection::default()
    };
    let target = Target {
        host: "host".parse()?,
        addresses: vec![text("--address")?.to_owned()],
        connection: Arc::new(connection),
        trust: KeyTrust::default(),
    };
    let script = Arc::from(text("--script")?);
    let (hosts, commands) = (number(arguments, "--hosts")?, number(arguments, "--commands")?);
    serve::raise_files();
    let transport = SshTransport::new(SshOptions::new(Arc::new(|_| Err("no secrets".to_owned()))))?;
    // One thread is what costs least, here and in the bare loop.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for host in 0..hosts {
            one(&transport, &target, &script, host, commands).await?;
        }
        Ok(())
    })
}

async fn one(
    transport: &SshTransport,
    target: &Target,
    script: &Arc<str>,
    host: usize,
    commands: usize,
) -> Result<()> {
    let mut session = transport.connect(target).await?;
    let folder = format!("bench/{host}");
    session.hold(&Arc::new(Holder {
        run: "bench".to_owned(),
        epoch: 0,
        controller: "bench".to_owned(),
        folder: folder.clone(),
    }));
    for step in 0..commands {
        let script = Script {
            text: Arc::clone(script),
            env: Vec::new(),
            sudo: false,
            timeout: Duration::from_secs(60),
            dir: format!("{folder}/0.migrate.step-{step}.1"),
            machine_id: None,
        };
        let mut kept = Kept::default();
        let exit = session.run(&script, &mut kept).await?;
        if exit != Exit::Code(0) || kept.0.is_empty() {
            return Err(format!("a step ended with {exit:?} and {} bytes", kept.0.len()).into());
        }
    }
    session.close().await;
    Ok(())
}
