//! Messages between the two processes: a SOCK_SEQPACKET socket keeps them apart, and descriptors travel with them.
use super::{Given, Purpose};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The longest message: names of listeners are short.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What is said.
#[derive(Debug)]
pub enum Message {
    /// New to old: give me your sockets.
    Hello,
    /// Old to new: one of them.
    Socket(Given),
    /// Old to new: that were all.
    End,
    /// New to old: from now on I serve; drain.
    Ready,
    /// Old to new: I have let go of everything.
    Yours,
}

/// One end.
#[derive(Debug)]
pub struct Channel {
    socket: Socket,
}

impl Channel {
    /// The end of a socket that is connected.
    pub fn new(socket: Socket) -> Channel {
        Channel { socket }
    }

    /// Connect to whoever listens at a path.
    ///
    /// # Errors
    /// Nobody does.
    pub fn connect(path: &Path) -> io::Result<Channel> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Channel { socket })
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Say something, waiting for room for at most `within`.
    ///
    /// # Errors
    /// The other end is gone, or does not read.
    pub fn send(&self, message: &Message, within: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(within))?;
        let bytes = encode(message);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors;
        if let Message::Socket(given) = message {
            descriptors = [given.socket.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Hear the next message, in at most `within`; None when the other end is gone.
    ///
    /// # Errors
    /// Nothing comes, or something that is no message.
    pub fn receive(&self, within: Duration) -> io::Result<Option<Message>> {
        self.socket.set_read_timeout(Some(within))?;
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received,
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last().or(descriptor);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = decode(&bytes[..received.bytes], descriptor);
        message
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a message of hand-over"))
    }
}

fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Hello => b"ripstop hand-over 1".to_vec(),
        Message::End => b"end".to_vec(),
        Message::Ready => b"ready".to_vec(),
        Message::Yours => b"yours".to_vec(),
        Message::Socket(given) => {
            let word = match given.purpose {
                Purpose::Listener => "listener",
                Purpose::Admin => "admin",
            };
            format!("{word}\0{}\0{}", given.address, given.name).into_bytes()
        }
    }
}

fn decode(bytes: &[u8], descriptor: Option<OwnedFd>) -> Option<Message> {
    match bytes {
        b"ripstop hand-over 1" => return Some(Message::Hello),
        b"end" => return Some(Message::End),
        b"ready" => return Some(Message::Ready),
        b"yours" => return Some(Message::Yours),
        _ => {}
    }
    let mut parts = std::str::from_utf8(bytes).ok()?.splitn(3, '\0');
    let purpose = match parts.next()? {
        "listener" => Purpose::Listener,
        "admin" => Purpose::Admin,
        _ => return None,
    };
    let (address, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Message::Socket(Given { purpose, name, address, socket: descriptor? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (Channel, Channel) {
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a pair of sockets");
        (Channel::new(one), Channel::new(other))
    }

    #[test]
    fn a_listening_socket_travels_with_its_names() {
        let (old, new) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (name, address) = ("in".to_owned(), "127.0.0.1:0".to_owned());
        let given = Given { purpose: Purpose::Listener, name, address, socket: listener.into() };
        old.send(&Message::Socket(given), SOON).expect("sent");
        let Ok(Some(Message::Socket(given))) = new.receive(SOON) else { panic!("a socket") };
        assert_eq!((&*given.name, &*given.address), ("in", "127.0.0.1:0"));
        let listener = TcpListener::from(given.socket);
        assert_eq!(listener.local_addr().expect("its address").port(), port);
    }

    #[test]
    fn what_is_no_message_and_a_peer_that_is_gone_are_noticed() {
        let (old, new) = pair();
        old.socket().send(b"listener\0without a descriptor\0").expect("sent");
        assert!(new.receive(SOON).is_err());
        drop(old);
        assert!(matches!(new.receive(SOON), Ok(None)));
    }
}
