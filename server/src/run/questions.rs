//! Questions to the cluster's other processes: which windows of a series are open. Each has a number, which its answer
//! repeats, and is waited for by the thread that asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use tidewatch_proto::row::Row;

/// Questions that have no answer yet.
#[derive(Default)]
pub struct Questions {
    asked: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Vec<Row>>>>,
}

impl Questions {
    /// Asks by `send`, which says whether somebody is there, and waits for the answer. Who has gone has no open windows;
    /// `None` when an answer doesn't come in time.
    pub fn ask(&self, wait: Duration, send: impl FnOnce(u64) -> bool) -> Option<Vec<Row>> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, answers) = mpsc::channel();
        self.waiting().insert(number, answer);
        let rows = match send(number) {
            true => answers.recv_timeout(wait).ok(),
            false => Some(Vec::new()),
        };
        self.waiting().remove(&number);
        rows
    }

    /// An answer has come; one that nobody waits for any more is dropped.
    pub fn answer(&self, number: u64, rows: Vec<Row>) {
        if let Some(answer) = self.waiting().remove(&number) {
            // It may have stopped waiting just now.
            let _ = answer.send(rows);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Vec<Row>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_goes_to_who_has_asked() {
        let questions = Arc::new(Questions::default());
        let (put, asked) = mpsc::channel();
        let ask = || {
            let (questions, put) = (questions.clone(), put.clone());
            std::thread::spawn(move || questions.ask(LONG, |number| put.send(number).is_ok()))
        };
        let threads = [ask(), ask()];
        let numbers = [(); 2].map(|()| asked.recv_timeout(LONG).expect("it asks"));
        assert_ne!(numbers[0], numbers[1]);
        for number in numbers {
            questions.answer(number, Vec::new());
        }
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), Some(Vec::new()));
        }
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for_and_who_has_gone_is_not_asked() {
        let questions = Questions::default();
        let mut asked = None;
        let silent = questions.ask(Duration::from_millis(1), |number| asked.replace(number).is_none());
        assert_eq!(silent, None);
        questions.answer(asked.expect("it asks"), Vec::new());
        assert_eq!(questions.ask(LONG, |_| false), Some(Vec::new()));
        assert!(questions.waiting().is_empty(), "nothing is left behind");
    }
}
