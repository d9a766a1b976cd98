//! Sessions against the `openssl` command. Ignored: they need the command, ports and files.
//! `cargo test -p ripstop-proxy --lib tls::openssl -- --ignored`
use super::fixtures::*;
use super::{Session, client_config, server_config};
use ripstop_core::snapshot::Named;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Certificates in files, as `openssl` wants them.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, authority: &Authority, leaf: &Leaf) -> Files {
        let directory = std::env::temp_dir().join(format!("ripstop-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
        std::fs::write(directory.join("leaf.pem"), &leaf.chain).unwrap();
        std::fs::write(directory.join("key.pem"), &leaf.key).unwrap();
        Files(directory)
    }

    fn path(&self, name: &str) -> String {
        Path::join(&self.0, name).display().to_string()
    }

    fn openssl(&self, command: &str, options: &[&str]) -> Command {
        let mut openssl = Command::new("openssl");
        openssl.arg(command).args(options);
        openssl.args(["-CAfile", &self.path("ca.pem"), "-cert", &self.path("leaf.pem")]);
        openssl.args(["-key", &self.path("key.pem"), "-verify_return_error"]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        openssl
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Read once and give it to the session; false at the end.
fn pump(stream: &mut TcpStream, session: &mut Session, plain: &mut Vec<u8>) -> bool {
    let (mut input, mut out) = (vec![0; 64 * 1024], Vec::new());
    let n = stream.read(&mut input).unwrap_or(0);
    let received = session.receive(&mut input[..n], plain, &mut out);
    stream.write_all(&out).unwrap();
    n > 0 && !received.unwrap().peer_closed
}

fn send(stream: &mut TcpStream, session: &mut Session, plain: &[u8]) {
    let mut out = Vec::new();
    session.send(plain, &mut out).unwrap();
    stream.write_all(&out).unwrap();
}

#[test]
#[ignore = "needs the openssl command"]
fn openssl_as_the_client_is_served_and_may_ask_for_new_keys() {
    for (version, key_updates) in [("-tls1_3", true), ("-tls1_2", false)] {
        let authority = Authority::new("mesh");
        let leaf = authority.leaf(&["spiffe://mesh/a", "a.mesh"]);
        let files = Files::new("client", &authority, &leaf);
        let validation = Some(trusting(&authority, "spiffe://mesh/"));
        let tls = downstream(context(vec![leaf.inline()], validation, &["h2", "http/1.1"]), true);
        let config = server_config(&tls, &Named::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let options = ["-connect", &address, "-servername", "a.mesh", "-alpn", "http/1.1", version];
        let mut child = files.openssl("s_client", &options).spawn().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let (mut session, mut plain) = (Session::server(&config).unwrap(), Vec::new());
        while session.is_handshaking() {
            assert!(pump(&mut stream, &mut session, &mut plain));
        }
        let mut stdin = child.stdin.take().unwrap();
        let lines: &[&str] = if key_updates {
            &["one\n", "k\n", "two\n", "K\n", "three\n"]
        } else {
            &["one\n", "two\n", "three\n"]
        };
        for line in lines {
            stdin.write_all(line.as_bytes()).unwrap();
            // A command is one only when its line is read alone.
            std::thread::sleep(Duration::from_millis(100));
        }
        while plain.len() < b"one\ntwo\nthree\n".len() {
            assert!(pump(&mut stream, &mut session, &mut plain));
        }
        assert_eq!(plain, b"one\ntwo\nthree\n");
        send(&mut stream, &mut session, &[&vec![b'.'; 100_000][..], b"the end\n"].concat());
        let mut out = Vec::new();
        session.close(&mut out);
        stream.write_all(&out).unwrap();
        assert_eq!(session.alpn(), Some(&b"http/1.1"[..]));
        assert_eq!(&*session.info().peer.as_ref().unwrap().uris[0], "spiffe://mesh/a");
        drop(stream);
        let output = child.wait_with_output().unwrap();
        // At the end of its input it would not wait for ours.
        drop(stdin);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Verify return code: 0 (ok)"));
        assert!(text.contains(&format!("{}the end", ".".repeat(100_000))));
    }
}

#[test]
#[ignore = "needs the openssl command"]
fn openssl_as_the_server_is_understood() {
    for version in ["-tls1_3", "-tls1_2"] {
        let authority = Authority::new("mesh");
        let leaf = authority.leaf(&["spiffe://mesh/b", "b.mesh"]);
        let files = Files::new("server", &authority, &leaf);
        let validation = Some(trusting(&authority, "spiffe://mesh/"));
        let config =
            client_config(&upstream(context(vec![leaf.inline()], validation, &["h2"])), &Named::default());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let options = ["-accept", &port, "-alpn", "h2", "-rev", "-Verify", "1", version];
        let mut child = files.openssl("s_server", &options).spawn().unwrap();
        let mut stream = connect(&port, &mut child);
        let mut session = Session::client(&config.unwrap(), "b.mesh").unwrap();
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        session.start(&mut out).unwrap();
        stream.write_all(&out).unwrap();
        while session.is_handshaking() {
            assert!(pump(&mut stream, &mut session, &mut plain));
        }
        // Our keys are replaced between the two; the session tickets that OpenSSL sends are passed over.
        send(&mut stream, &mut session, b"stressed\n");
        if version == "-tls1_3" {
            session.established().limit_send_keys(0);
        }
        send(&mut stream, &mut session, b"drawer\n");
        while plain.len() < b"desserts\nreward\n".len() {
            assert!(pump(&mut stream, &mut session, &mut plain));
        }
        assert_eq!(plain, b"desserts\nreward\n");
        assert_eq!(session.alpn(), Some(&b"h2"[..]));
        assert_eq!(&*session.info().peer.as_ref().unwrap().uris[0], "spiffe://mesh/b");
        drop(stream);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Connect as soon as the server listens.
fn connect(port: &str, child: &mut Child) -> TcpStream {
    for _ in 0..100 {
        if let Ok(stream) = TcpStream::connect(format!("127.0.0.1:{port}")) {
            return stream;
        }
        assert!(child.try_wait().unwrap().is_none(), "openssl ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("openssl does not listen")
}
