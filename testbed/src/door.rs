//! A host's port, which can be closed and opened again, and belongs to the host all the time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be taken, as many as sshd lets wait.
const BACKLOG: u32 = 128;

/// One socket, listening or not.
///
/// It is never closed and bound anew: a child that is being forked at that moment would hold the old socket for a moment
/// longer, and the address would be in use. A socket that is shut down refuses connections and keeps its port.
#[derive(Debug)]
pub(crate) struct Door(State);

#[derive(Debug)]
enum State {
    Open(TcpListener),
    Closed(std::net::TcpListener),
    /// Only while it changes.
    Ajar,
}

impl Door {
    /// An open door on a port that the system chooses.
    pub(crate) fn open_at(address: Ipv4Addr) -> io::Result<Self> {
        let socket = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            io::Result::Ok(socket)
        };
        // The kernel lets go of a port that it chose itself when a socket is shut down, so the socket asks for it by number.
        let scout = socket()?;
        scout.bind((address, 0).into())?;
        let door = socket()?;
        door.bind(scout.local_addr()?)?;
        drop(scout);
        Ok(Self(State::Open(door.listen(BACKLOG)?)))
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            State::Open(listener) => listener.local_addr(),
            State::Closed(listener) => listener.local_addr(),
            State::Ajar => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// From now on connections are refused. Those that wait to be taken are reset, others stay.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, State::Ajar) {
            State::Open(listener) => {
                let socket = listener.into_std()?;
                rustix::net::shutdown(&socket, rustix::net::Shutdown::Both)?;
                State::Closed(socket)
            }
            other @ (State::Closed(_) | State::Ajar) => other,
        };
        Ok(())
    }

    pub(crate) fn open(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, State::Ajar) {
            State::Closed(socket) => {
                rustix::net::listen(&socket, BACKLOG.cast_signed())?;
                State::Open(TcpListener::from_std(socket)?)
            }
            other @ (State::Open(_) | State::Ajar) => other,
        };
        Ok(())
    }

    /// The next connection; never, while it is closed.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            State::Open(listener) => listener.accept().await,
            State::Closed(_) | State::Ajar => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_closes_and_opens_on_one_port() {
        let mut door = Door::open_at(Ipv4Addr::LOCALHOST).unwrap();
        let address = door.address().unwrap();
        for _ in 0..3 {
            let (client, taken) = tokio::join!(TcpStream::connect(address), door.accept());
            let (_client, _taken) = (client.unwrap(), taken.unwrap());
            door.close().unwrap();
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            door.open().unwrap();
            assert_eq!(door.address().unwrap(), address);
        }
    }
}
