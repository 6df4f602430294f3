//! A transport without a network: hosts are values, and scripts are answered by rules.

use fleetlift::{
    base::name::HostName,
    host::{
        BoxFuture, ConnectError, Exit, KeyTrust, Leave, OutputSink, Script, Session, SessionError,
        Stream, Target, Time, Transport, Whereabouts,
    },
    journal::{Contact, NewKey},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

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
    /// The connection goes away, and the host says afterwards that nothing began. It may have lost power meanwhile.
    Never {
        power_cut: bool,
    },
    /// One answer after the other; the last of them for good.
    InTurn(Vec<Answer>),
    /// From now on the host shows these, each for so many seconds, and the last for ever.
    Plays(Play),
    /// The connection is lost, and this follows.
    LostIn(Play),
    /// Passes from this boot on.
    Boot(u32),
}

/// What a host shows for a while.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// No login comes of it.
    Out(Contact),
    /// SSH answers, and lets nobody in.
    Refuses,
    /// The boot that it is on already.
    Same,
    /// The next boot, of this system.
    Boot(&'static str, &'static str),
    /// The next boot, of another machine with the same keys.
    OtherMachine(&'static str),
    /// The next boot, of this system, under another host key.
    Rekeyed(&'static str, &'static str),
    /// Another host key, which is revoked.
    Revoked,
}

/// What a host shows, one after the other, each for so many seconds and the last for ever.
pub type Play = &'static [(u64, Shows)];

/// The one new host key.
pub const NEW_KEY: &str = "ssh-ed25519 NEW";

/// One made-up host.
#[derive(Clone)]
pub struct FakeHost {
    pub system: (String, String),
    pub boot: u32,
    pub reachable: bool,
    pub rules: Vec<Rule>,
    /// Its own list of boots.
    pub boots: String,
    /// Since when it plays what, and how much of that has come to pass.
    pub play: Option<(Instant, Play, usize)>,
    /// Its machine id, where it is not made of its name.
    pub machine: Option<&'static str>,
    /// Every script that ran, by its directory.
    pub ran: Vec<(String, String)>,
    /// The directories of scripts that never began.
    pub never: Vec<String>,
    /// What was begun there before still runs.
    pub at_work: bool,
    /// Where files were written.
    pub uploaded: Vec<String>,
    /// The ids of the machines that were left under its name.
    pub left: Vec<String>,
    /// How long it takes to be left; that it was is then among what ran.
    pub farewell: Option<Duration>,
}

impl FakeHost {
    pub fn new(id: &str, version: &str) -> Self {
        Self {
            system: (id.into(), version.into()),
            boot: 1,
            reachable: true,
            rules: Vec::new(),
            play: None,
            boots: String::new(),
            machine: None,
            ran: Vec::new(),
            never: Vec::new(),
            at_work: false,
            uploaded: Vec::new(),
            left: Vec::new(),
            farewell: None,
        }
    }

    pub fn rule(mut self, containing: &str, answer: Answer) -> Self {
        self.rules.push(Rule { containing: containing.into(), answer });
        self
    }

    /// What it shows now, after all that came before has come to pass.
    fn shows(&mut self) -> Shows {
        let Some((since, scenes, done)) = self.play else { return Shows::Same };
        let (mut end, mut at) = (Duration::ZERO, 0);
        for (i, (seconds, _)) in scenes.iter().enumerate() {
            at = i;
            end += Duration::from_secs(*seconds);
            if since.elapsed() < end {
                break;
            }
        }
        for (_, shows) in scenes.iter().take(at + 1).skip(done) {
            match shows {
                Shows::Boot(id, version) | Shows::Rekeyed(id, version) => {
                    self.boot += 1;
                    self.system = ((*id).into(), (*version).into());
                }
                Shows::OtherMachine(id) => {
                    self.boot += 1;
                    self.machine = Some(id);
                }
                Shows::Out(_) | Shows::Refuses | Shows::Same | Shows::Revoked => {}
            }
        }
        self.play = Some((since, scenes, at + 1));
        scenes[at].1
    }

    fn log_in(&mut self, trust: &KeyTrust) -> Result<Option<NewKey>, ConnectError> {
        let shows = self.shows();
        let key = |revoked| ConnectError::HostKey {
            reason: "another key".into(),
            hint: None,
            shown: "ssh-ed25519 SHA256:new".into(),
            expected: Some("SHA256:old".into()),
            revoked,
        };
        match shows {
            _ if !self.reachable => Err(ConnectError::Unreachable {
                contact: Contact::NoAnswer,
                reason: "no answer".into(),
            }),
            Shows::Out(contact) => {
                Err(ConnectError::Unreachable { contact, reason: "as it plays".into() })
            }
            Shows::Refuses => {
                Err(ConnectError::Refused { reason: "who are you?".into(), hint: None })
            }
            Shows::Revoked => Err(key(true)),
            Shows::Rekeyed(..) if trust.taken.as_deref() == Some(NEW_KEY) => Ok(None),
            Shows::Rekeyed(..) if trust.announced => Ok(Some(NewKey {
                key: NEW_KEY.into(),
                shown: "ssh-ed25519 SHA256:new".into(),
                expected: Some("SHA256:old".into()),
                advice: "replace line 1 of known_hosts".into(),
            })),
            Shows::Rekeyed(..) => Err(key(false)),
            Shows::Same | Shows::Boot(..) | Shows::OtherMachine(_) => Ok(None),
        }
    }

    fn machine_id(&self, name: &HostName) -> String {
        self.machine.map_or_else(|| format!("id-of-{name}"), str::to_owned)
    }

    fn facts(&self, name: &HostName) -> String {
        let machine = self.machine_id(name);
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

    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().map(ToString::to_string).collect()
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
            match self.0.lock().unwrap().get_mut(&target.host) {
                Some(host) => {
                    let new_key = host.log_in(&target.trust)?;
                    let (fleet, host) = (self.clone(), target.host.clone());
                    Ok(Box::new(FakeSession { fleet, host, new_key }) as Box<dyn Session>)
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
    new_key: Option<NewKey>,
}

impl FakeSession {
    fn answer(&self, script: &Script, output: &mut dyn OutputSink) -> Result<Exit, SessionError> {
        let mut fleet = self.fleet.0.lock().unwrap();
        let host = fleet.get_mut(&self.host).unwrap();
        if matches!(host.shows(), Shows::Out(_) | Shows::Refuses | Shows::Revoked) {
            return Err(SessionError::Lost { reason: "the host went down".into() });
        }
        if script.text.contains("# fleetlift-boots") {
            output.take(Stream::Out, host.boots.as_bytes());
            return Ok(Exit::Code(0));
        }
        if script.text.contains("boot_id=") || script.text.contains("# fleetlift-facts") {
            output.take(Stream::Out, host.facts(&self.host).as_bytes());
            return Ok(Exit::Code(0));
        }
        let rule = host.rules.iter_mut().find(|rule| script.text.contains(&rule.containing));
        let answer = match rule.map(|rule| &mut rule.answer) {
            Some(Answer::InTurn(answers)) if answers.len() > 1 => Some(answers.remove(0)),
            Some(Answer::InTurn(answers)) => answers.first().cloned(),
            answer => answer.cloned(),
        };
        if let Some(Answer::Never { power_cut }) = answer {
            host.never.push(script.dir.clone());
            host.boot += u32::from(power_cut);
            return Err(SessionError::Lost { reason: "the connection went away".into() });
        }
        host.ran.push((script.dir.clone(), script.text.to_string()));
        match answer {
            None | Some(Answer::Never { .. } | Answer::InTurn(_)) => Ok(Exit::Code(0)),
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
            Some(Answer::LostIn(scenes)) => {
                host.play = Some((Instant::now(), scenes, 0));
                Err(SessionError::Lost { reason: "the connection went away".into() })
            }
            Some(Answer::Boot(boot)) => Ok(Exit::Code(i32::from(host.boot < boot))),
            Some(Answer::Plays(scenes)) => {
                host.play = Some((Instant::now(), scenes, 0));
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

    fn ask<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(async move { self.answer(script, output) })
    }

    fn look<'a>(
        &'a mut self,
        dir: &'a str,
        _: bool,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(async move {
            let mut fleet = self.fleet.0.lock().unwrap();
            let host = fleet.get_mut(&self.host).unwrap();
            if !host.ran.iter().any(|(ran, _)| ran == dir) {
                host.never.push(dir.to_owned());
                return Ok(Whereabouts::Never);
            }
            match host.at_work {
                true => Ok(Whereabouts::Running),
                false => Ok(Whereabouts::Finished(Exit::Code(0))),
            }
        })
    }

    fn follow<'a>(
        &'a mut self,
        dir: &'a str,
        _: bool,
        _: [u64; 2],
        _: Time,
        _: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        let fleet = self.fleet.0.lock().unwrap();
        let never = fleet[&self.host].never.iter().any(|other| other == dir);
        Box::pin(async move {
            match never {
                true => Ok(Whereabouts::Never),
                false => Err(SessionError::Refused { reason: "nobody knows of it".into() }),
            }
        })
    }

    fn leave(&mut self, _: Leave, _: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            let takes = {
                let mut fleet = self.fleet.0.lock().unwrap();
                let host = fleet.get_mut(&self.host).unwrap();
                host.left.push(host.machine_id(&self.host));
                host.farewell
            };
            if let Some(takes) = takes {
                tokio::time::sleep(takes).await;
                let mut fleet = self.fleet.0.lock().unwrap();
                fleet.get_mut(&self.host).unwrap().ran.push((String::new(), "left".into()));
            }
            Ok(())
        })
    }

    fn new_key(&self) -> Option<&NewKey> {
        self.new_key.as_ref()
    }

    fn upload<'a>(
        &'a mut self,
        _: &'a [u8],
        path: &'a str,
        _: u32,
        _: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        let mut fleet = self.fleet.0.lock().unwrap();
        fleet.get_mut(&self.host).unwrap().uploaded.push(path.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
