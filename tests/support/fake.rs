//! A transport without a network: hosts are values, and scripts are answered by rules.

use fleetlift::{
    base::name::HostName,
    host::{
        BoxFuture, ConnectError, Exit, OutputSink, Script, Session, SessionError, Stream, Target,
        Transport,
    },
    journal::Contact,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

/// What a made-up host does with a script that contains `containing`.
#[derive(Clone)]
pub struct Rule {
    pub containing: String,
    pub answer: Answer,
}

#[derive(Clone)]
pub enum Answer {
    Exit(i32, &'static str),
    Lost,
    /// Sets the host's system and boot id: a reboot that migrates.
    Becomes(&'static str, &'static str),
}

/// One made-up host.
#[derive(Clone)]
pub struct FakeHost {
    pub system: (String, String),
    pub boot: u32,
    pub reachable: bool,
    pub rules: Vec<Rule>,
    /// Its machine id, where it is not made of its name.
    pub machine: Option<&'static str>,
    /// Every script that ran, by its directory.
    pub ran: Vec<(String, String)>,
}

impl FakeHost {
    pub fn new(id: &str, version: &str) -> Self {
        Self {
            system: (id.into(), version.into()),
            boot: 1,
            reachable: true,
            rules: Vec::new(),
            machine: None,
            ran: Vec::new(),
        }
    }

    pub fn rule(mut self, containing: &str, answer: Answer) -> Self {
        self.rules.push(Rule { containing: containing.into(), answer });
        self
    }

    fn facts(&self, name: &HostName) -> String {
        let machine = self.machine.map_or_else(|| format!("id-of-{name}"), str::to_owned);
        format!(
            "machine_id={machine}\nboot_id=00000000-0000-4000-8000-{:012}\nuid=0\n[os-release\nID={}\nVERSION_ID={}\n]\n",
            self.boot, self.system.0, self.system.1
        )
    }
}

/// The made-up fleet.
#[derive(Clone, Default)]
pub struct FakeFleet(pub Arc<Mutex<BTreeMap<HostName, FakeHost>>>);

impl FakeFleet {
    pub fn with(hosts: impl IntoIterator<Item = (&'static str, FakeHost)>) -> Self {
        let hosts = hosts.into_iter().map(|(name, host)| (name.parse().unwrap(), host)).collect();
        Self(Arc::new(Mutex::new(hosts)))
    }

    /// The scripts that ran on a host, without our own questions.
    pub fn ran(&self, host: &str) -> Vec<String> {
        let fleet = self.0.lock().unwrap();
        fleet[host].ran.iter().map(|(_, text)| text.clone()).collect()
    }
}

impl Transport for FakeFleet {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        Box::pin(async move {
            match self.0.lock().unwrap().get(&target.host) {
                Some(host) if host.reachable => {
                    let session = FakeSession { fleet: self.clone(), host: target.host.clone() };
                    Ok(Box::new(session) as Box<dyn Session>)
                }
                _ => Err(ConnectError::Unreachable {
                    contact: Contact::NoAnswer,
                    reason: "no answer".into(),
                }),
            }
        })
    }
}

struct FakeSession {
    fleet: FakeFleet,
    host: HostName,
}

impl FakeSession {
    fn answer(&self, script: &Script, output: &mut dyn OutputSink) -> Result<Exit, SessionError> {
        let mut fleet = self.fleet.0.lock().unwrap();
        let host = fleet.get_mut(&self.host).unwrap();
        if script.text.contains("boot_id=") || script.text.contains("# fleetlift-facts") {
            output.take(Stream::Out, host.facts(&self.host).as_bytes());
            return Ok(Exit::Code(0));
        }
        host.ran.push((script.dir.clone(), script.text.to_string()));
        let rule = host.rules.iter().find(|rule| script.text.contains(&rule.containing)).cloned();
        match rule.map(|rule| rule.answer) {
            None => Ok(Exit::Code(0)),
            Some(Answer::Exit(code, text)) => {
                output.take(Stream::Out, text.as_bytes());
                Ok(Exit::Code(code))
            }
            Some(Answer::Lost) => {
                Err(SessionError::Lost { reason: "the connection went away".into() })
            }
            Some(Answer::Becomes(id, version)) => {
                host.system = (id.into(), version.into());
                host.boot += 1;
                Ok(Exit::Code(0))
            }
        }
    }
}

impl Session for FakeSession {
    fn run<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(async move { self.answer(script, output) })
    }

    fn upload<'a>(
        &'a mut self,
        _: &'a [u8],
        _: &'a str,
        _: u32,
        _: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(async { Ok(()) })
    }

    fn download<'a>(
        &'a mut self,
        _: &'a str,
        _: &'a Path,
        _: bool,
    ) -> BoxFuture<'a, Result<u64, SessionError>> {
        Box::pin(async { Ok(0) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
