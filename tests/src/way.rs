//! The way to a component, which can be cut and mended.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The way to a server, which can be cut.
pub struct Way {
    port: u16,
    is_cut: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    /// A way to an address.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn to(address: String) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (is_cut, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (cut, kept) = (is_cut.clone(), ends.clone());
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let there = TcpStream::connect(&address).expect("the component runs");
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    kept.lock()
                        .expect("not poisoned")
                        .push(from.try_clone().expect("a socket"));
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
        Way { port, is_cut, ends }
    }

    /// Ends all connections, and lets none through from now on.
    ///
    /// # Panics
    /// When a thread that carried one has panicked.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for end in self.ends.lock().expect("not poisoned").drain(..) {
            // It may be closed already.
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
    /// Lets connections through again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    /// A way to a database, and the URL by which it is taken.
    ///
    /// # Panics
    /// When the URL is none, or there is no free port.
    pub fn to_database(url: &str) -> (Way, String) {
        let (head, rest) = url.split_once("://").expect("a URL");
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (address, path) = rest.split_once('/').expect("a database");
        let way = Way::to(address.to_owned());
        let at = if login.is_empty() { "" } else { "@" };
        let url = format!("{head}://{login}{at}127.0.0.1:{}/{path}", way.port);
        (way, url)
    }
}
