//! Hours and days: each window has an accumulator of its own for each series, since it outlives its panes.
//!
//! An hour takes panes as they close. A day takes hours as they close, in one step, which is sixty times cheaper; only
//! an hour that midnight divides gives its panes to the two days one by one. A reading that comes later is added to
//! whatever has closed. All of it goes by the log alone, so it comes to the same bits on every run.

use crate::config::{EngineConfig, Late};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tidewatch_proto::aggregate::{Aggregate, add_pane_to};
use tidewatch_proto::calendar::Span;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::row::Job;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::{EventTime, PaneNo};

/// What closed panes and late readings of one series have brought to a window, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LongWindow {
    /// The aggregate.
    pub aggregate: Aggregate,
    /// The values counted so far; empty when quantiles are off.
    sketch: Sketch,
    /// Whether a row was published.
    pub published: bool,
    /// Whether the hour has closed: the day has all of it.
    folded: bool,
    /// Values that no bucket has counted yet. An hour's buckets are seldom in the cache, so many values are
    /// counted at once.
    #[serde(skip)]
    waiting: Vec<f64>,
}

/// How many values wait at most.
const WAITING_MAX: usize = 64;

impl LongWindow {
    /// The sketch of all values.
    pub fn sketch(&self) -> Cow<'_, Sketch> {
        if self.waiting.is_empty() {
            return Cow::Borrowed(&self.sketch);
        }
        let mut sketch = self.sketch.clone();
        self.waiting.iter().for_each(|value| sketch.add(*value));
        Cow::Owned(sketch)
    }

    /// Whether the hour has closed: the day has all of it.
    pub fn is_folded(&self) -> bool {
        self.folded
    }

    /// Counts values, which are neither NaN nor infinite.
    fn count(&mut self, values: &[f64]) {
        if self.sketch.values().is_some() {
            values.iter().for_each(|value| self.sketch.add(*value));
            return;
        }
        if self.waiting.len() + values.len() > WAITING_MAX {
            self.waiting.drain(..).for_each(|value| self.sketch.add(value));
        }
        self.waiting.reserve_exact(WAITING_MAX - self.waiting.len());
        self.waiting.extend_from_slice(values);
    }

    fn count_pane(&mut self, pane: &Pane, own: Option<&Sketch>) {
        match (pane.count, own) {
            (0, _) => {}
            (1, _) => self.count(&[pane.min]),
            (2, _) => self.count(&[pane.min, pane.max]),
            (_, Some(own)) => match own.values() {
                Some(values) => self.count(values),
                None => self.sketch.merge(own),
            },
            (_, None) => {}
        }
    }

    /// Takes a reading that came after its pane closed.
    fn add(&mut self, at: EventTime, value: f64, quantiles: bool) {
        self.aggregate.add(at, value);
        if quantiles && value.is_finite() {
            self.sketch_now().add(value + 0.0);
        }
    }

    /// The sketch when no value waits.
    fn sketch_now(&mut self) -> &mut Sketch {
        self.waiting.drain(..).for_each(|value| self.sketch.add(value));
        &mut self.sketch
    }
}

impl Serialize for LongWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.aggregate, self.sketch(), self.published, self.folded).serialize(serializer)
    }
}

/// The windows of one job that are in memory, by their first pane and the slot.
#[derive(Debug, Default)]
pub struct Windows {
    by_first: BTreeMap<PaneNo, Slots>,
}

#[derive(Debug)]
struct Slots {
    last: PaneNo,
    windows: Vec<Option<Box<LongWindow>>>,
    used: usize,
}

impl Windows {
    /// The window of a slot, which is made when it isn't there.
    pub fn window(&mut self, span: Span, slot: usize) -> &mut LongWindow {
        let slots = self.by_first.entry(span.first).or_insert_with(|| Slots {
            last: span.last,
            windows: Vec::new(),
            used: 0,
        });
        if slots.windows.len() <= slot {
            slots.windows.resize_with((slot + 1).next_multiple_of(256), || None);
        }
        let window = &mut slots.windows[slot];
        slots.used += usize::from(window.is_none());
        window.get_or_insert_default()
    }

    /// Says that no row of a window was published, if there is one.
    fn unpublish(&mut self, first: PaneNo, slot: usize) {
        let windows = self.by_first.get_mut(&first).map(|slots| &mut slots.windows);
        if let Some(window) = windows.and_then(|windows| windows.get_mut(slot)?.as_mut()) {
            window.published = false;
        }
    }

    /// The window of a slot, if it has anything.
    pub fn get(&self, first: PaneNo, slot: usize) -> Option<&LongWindow> {
        self.by_first.get(&first)?.windows.get(slot)?.as_deref()
    }

    /// Which windows are in memory.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        let spans = self.by_first.iter();
        spans.map(|(first, slots)| Span {
            first: *first,
            last: slots.last,
        })
    }

    /// Forgets the windows of these slots whose last pane is not after `expired`.
    fn expire<I: Iterator<Item = usize>>(&mut self, expired: PaneNo, of: impl Fn() -> I) {
        self.by_first.retain(|_, slots| {
            if slots.last <= expired {
                for slot in of() {
                    if slots
                        .windows
                        .get_mut(slot)
                        .is_some_and(|window| window.take().is_some())
                    {
                        slots.used -= 1;
                    }
                }
            }
            slots.used > 0
        });
    }
}

/// Where a pane lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    pane: PaneNo,
    hour: Span,
    day: Span,
    /// Whether the hour lies within one day.
    is_whole: bool,
}

impl Place {
    fn of(pane: PaneNo, config: &EngineConfig) -> Place {
        let (hour, day) = (config.span(Job::Hour, pane), config.span(Job::Day, pane));
        Place {
            pane,
            hour,
            day,
            is_whole: day.first <= hour.first && hour.last <= day.last,
        }
    }
}

/// The hours and days in memory.
#[derive(Debug, Default)]
pub struct LongWindows {
    hours: Windows,
    days: Windows,
    /// Where the last pane lay: the next one is often the same.
    place: Option<Place>,
}

impl LongWindows {
    /// The windows of a job, which is an hour or a day.
    pub fn of(&self, job: Job) -> &Windows {
        match job {
            Job::Day => &self.days,
            _ => &self.hours,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, job: Job) -> &mut Windows {
        match job {
            Job::Day => &mut self.days,
            _ => &mut self.hours,
        }
    }

    fn place(&mut self, pane: PaneNo, config: &EngineConfig) -> Place {
        let known = self.place.filter(|place| place.pane == pane);
        *self.place.insert(known.unwrap_or_else(|| Place::of(pane, config)))
    }

    /// Takes a pane when it closes.
    pub fn add_pane(&mut self, slot: usize, pane: &Pane, sketch: Option<&Sketch>, config: &EngineConfig) {
        let place = self.place(pane.number, config);
        let window = self.hours.window(place.hour, slot);
        window.aggregate.merge(pane);
        if config.quantiles {
            window.count_pane(pane, sketch);
        }
        if config.day && !place.is_whole {
            let window = self.days.window(place.day, slot);
            window.aggregate.merge(pane);
            if config.quantiles {
                add_pane_to(&mut window.sketch, pane, sketch);
            }
        }
    }

    /// Takes a reading that came after its pane closed.
    pub fn add_reading(&mut self, slot: usize, (at, value): (EventTime, f64), late: Late, config: &EngineConfig) {
        let place = self.place(PaneNo::of(at), config);
        if late.hour {
            let window = self.hours.window(place.hour, slot);
            window.aggregate.add(at, value);
            if config.quantiles && value.is_finite() {
                window.count(&[value + 0.0]);
            }
            window.folded |= late.hour_closed;
        }
        if config.day && late.day && (late.hour_closed || !place.is_whole) {
            let day = self.days.window(place.day, slot);
            day.add(at, value, config.quantiles);
        }
    }

    /// Gives the hours that end after `closed`, through `through`, to their days.
    pub fn close_hours<I: Iterator<Item = usize>>(
        &mut self,
        (closed, through): (PaneNo, PaneNo),
        of: impl Fn() -> I,
        config: &EngineConfig,
    ) {
        let ended = self.hours.by_first.iter_mut();
        for (first, slots) in ended.filter(|(_, slots)| slots.last > closed && slots.last <= through) {
            let place = Place::of(*first, config);
            let day = place.is_whole.then_some(place.day);
            for slot in of() {
                let Some(window) = slots.windows.get_mut(slot).and_then(Option::as_mut) else {
                    continue;
                };
                // What was restored may have closed before.
                if std::mem::replace(&mut window.folded, true) {
                    continue;
                }
                if let Some(day) = day {
                    let day = self.days.window(day, slot);
                    day.aggregate.combine(&window.aggregate);
                    if config.quantiles {
                        day.sketch.merge(window.sketch_now());
                    }
                }
            }
        }
    }

    /// Says that no row of a window was published, if there is one.
    pub fn unpublish(&mut self, job: Job, first: PaneNo, slot: usize) {
        self.of_mut(job).unpublish(first, slot);
    }

    /// Forgets the windows of these slots whose last pane is not after `expired`.
    pub fn expire<I: Iterator<Item = usize>>(&mut self, expired: PaneNo, of: impl Fn() -> I) {
        self.hours.expire(expired, &of);
        self.days.expire(expired, &of);
    }
}
