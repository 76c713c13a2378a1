//! Where reading begins: the positions of a checkpoint are compared with what the log has.

use super::open::shown;
use super::partition::Part;
use super::source::{GONE, LogFactory};
use crate::begin::{Before, OnGap};
use crate::event::SourceEvent;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;

impl LogFactory {
    /// Which log it is: an id that one which is made anew in the same folder doesn't have.
    pub fn id(&self) -> String {
        shown(&self.log.id)
    }

    /// Where reading of each partition begins, in their order: where a checkpoint ended, or else with the first record.
    /// Until then nothing leaves the log, and from then on nothing that was not [read](LogFactory::read_until).
    ///
    /// # Errors
    /// When the log has not got what comes next (it has left, or the log was made anew), unless `log.on_gap` says to
    /// skip that.
    pub fn begin(&self, before: Option<Before<'_>>) -> Result<Vec<Offset>, SourceError> {
        let begin = self.positions(before)?;
        self.log
            .parts
            .iter()
            .zip(&begin)
            .for_each(|(part, next)| part.begin(*next));
        Ok(begin)
    }

    /// Where another reader begins, such as an archive, that says itself what it [holds](LogFactory::hold): as
    /// [`begin`](LogFactory::begin) says.
    ///
    /// # Errors
    /// The same.
    pub fn positions(&self, before: Option<Before<'_>>) -> Result<Vec<Offset>, SourceError> {
        let is_anew = before.map_or(Ok(false), |before| self.is_anew(before.log))?;
        let positions = before.filter(|_| !is_anew).map_or(&[][..], |before| before.positions);
        let begin = self.log.parts.iter().map(|part| {
            let position = positions.iter().find(|position| position.0 == part.partition);
            position.map_or(Ok(part.first()), |position| self.go_on(*position))
        });
        begin.collect()
    }

    /// Another reader still needs what lies from these positions on: it stays, until they are said anew.
    pub fn hold(&self, positions: &[(Partition, Offset)]) {
        for (partition, next) in positions {
            if let Some(part) = self.log.parts.get(partition.index()) {
                part.hold(*next);
            }
        }
    }

    /// A checkpoint with these positions is durable. What lies before that of the one before it may leave the log.
    pub fn read_until(&self, positions: &[(Partition, Offset)]) {
        for (partition, next) in positions {
            if let Some(part) = self.log.parts.get(partition.index()) {
                part.read_until(*next);
            }
        }
    }

    /// Nobody goes on from a checkpoint: what is old leaves the log, read or not.
    pub fn let_go(&self) {
        self.log.parts.iter().for_each(Part::let_go);
    }

    /// Whether the log is another one than that of a checkpoint, and its records are all new.
    fn is_anew(&self, before: &str) -> Result<bool, SourceError> {
        let now = self.id();
        if before.is_empty() || before == now {
            return Ok(false);
        }
        let problem = format!("the log was made anew: its id was {before} and is {now}");
        match self.log.settings.on_gap {
            OnGap::Stop => Err(self.log.settings.error(format!("{problem}; {GONE}"))),
            OnGap::Skip => {
                let problem = format!("{problem}; it is read from its first record");
                self.tell(self.log.settings.object(), problem);
                Ok(true)
            }
        }
    }

    /// Where to go on: at the position, if the log has it.
    fn go_on(&self, (partition, position): (Partition, Offset)) -> Result<Offset, SourceError> {
        let part = &self.log.parts[partition.index()];
        let (first, end) = (part.first(), part.end());
        let (problem, next) = match position {
            at if at < first => {
                let gone = first.0 - at.0;
                (format!("the log begins at {first}: {gone} offsets are gone"), first)
            }
            at if at > end => (format!("the log ends at {end}: what was read there is lost to it"), end),
            _ => return Ok(position),
        };
        let object = format!("log/{partition}, offset {position}");
        match self.log.settings.on_gap {
            OnGap::Stop => Err(SourceError::new(object, format!("{problem}; {GONE}"))),
            OnGap::Skip => {
                self.tell(object, format!("{problem}; reading goes on at {next}"));
                Ok(next)
            }
        }
    }

    fn tell(&self, object: String, problem: String) {
        (self.log.hook)(SourceEvent::Skipped { object, problem });
    }
}
