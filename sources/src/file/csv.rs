//! CSV with a header, long or wide.

use super::config::{CsvConfig, TimeUnit};
use super::{Decoded, Decoder, Problem, time};
use crate::encode;
use tidewatch_proto::time::EventTime;

/// Decodes the lines of one CSV file.
pub(super) struct CsvDecoder {
    config: CsvConfig,
    layout: Option<Layout>,
    line: Line,
}

/// What the columns of a file are.
struct Layout {
    columns: usize,
    time: usize,
    unit: TimeUnit,
    device: Device,
    values: Values,
}

enum Device {
    Column(usize),
    Fixed(String),
}

enum Values {
    /// A line is one value: the columns of its metric and of itself.
    Long { metric: usize, value: usize },
    /// The columns that are metrics, with their names.
    Wide(Vec<(usize, String)>),
}

impl CsvDecoder {
    /// A decoder that learns the columns from the first line it gets.
    pub(super) fn new(config: &CsvConfig) -> CsvDecoder {
        CsvDecoder {
            config: config.clone(),
            layout: None,
            line: Line::default(),
        }
    }
}

impl Decoder for CsvDecoder {
    fn has_header(&self) -> bool {
        true
    }

    fn decode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Option<Decoded>, Problem> {
        let Some(layout) = &self.layout else {
            let header = frame.strip_prefix(b"\xef\xbb\xbf").unwrap_or(frame);
            self.line.split(header).map_err(Problem::File)?;
            self.layout = Some(Layout::of(&self.line, &self.config).map_err(Problem::File)?);
            return Ok(None);
        };
        if frame.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.line.split(frame).map_err(Problem::Frame)?;
        layout
            .encode(&self.line, out)
            .map(|ts| Some(Decoded { ts: Some(ts) }))
            .map_err(Problem::Frame)
    }
}

impl Layout {
    fn of(header: &Line, config: &CsvConfig) -> Result<Layout, String> {
        let mut names = Vec::with_capacity(header.len());
        for place in 0..header.len() {
            names.push(
                header
                    .text(place)
                    .ok_or_else(|| format!("column {} of the header is not UTF-8", place + 1))?
                    .trim(),
            );
        }
        let find = |name: &str| names.iter().position(|column| *column == name);
        let absent = |key: &str, name: &str| {
            format!(
                "the header has no column `{name}`; set file.csv.{key} to one of {}",
                names.join(", ")
            )
        };
        let time = find(&config.time_column).ok_or_else(|| absent("time_column", &config.time_column))?;
        let device = match (&config.device, find(&config.device_column)) {
            (Some(device), _) => Device::Fixed(device.clone()),
            (None, Some(column)) => Device::Column(column),
            (None, None) => return Err(absent("device_column (or file.csv.device)", &config.device_column)),
        };
        let values = match (find(&config.metric_column), find(&config.value_column)) {
            (Some(metric), Some(value)) => Values::Long { metric, value },
            _ => Values::Wide(metrics(&names, config)?),
        };
        Ok(Layout {
            columns: names.len(),
            time,
            unit: config.time_unit,
            device,
            values,
        })
    }

    fn encode(&self, line: &Line, out: &mut Vec<u8>) -> Result<EventTime, String> {
        if line.len() != self.columns {
            return Err(format!(
                "the line has {} fields, the header {}",
                line.len(),
                self.columns
            ));
        }
        let text = |place: usize| {
            line.text(place)
                .ok_or_else(|| format!("field {} is not UTF-8", place + 1))
        };
        let time_text = text(self.time)?;
        let ts = time::parse(time_text, self.unit).ok_or_else(|| format!("`{time_text}` is no time"))?;
        let device = match &self.device {
            Device::Column(place) => text(*place)?,
            Device::Fixed(device) => device,
        };
        encode::head(out, device, ts);
        match &self.values {
            Values::Long { metric, value } => {
                let name = text(*metric)?;
                encode::metric(out, name, number(name, text(*value)?)?);
            }
            Values::Wide(metrics) => {
                for (place, name) in metrics {
                    let cell = text(*place)?;
                    if !cell.trim().is_empty() {
                        encode::metric(out, name, number(name, cell)?);
                    }
                }
            }
        }
        Ok(ts)
    }
}

/// The columns of a wide file that are metrics.
fn metrics(names: &[&str], config: &CsvConfig) -> Result<Vec<(usize, String)>, String> {
    let no_metric = |name: &str| {
        let device = name == config.device_column;
        device || name == config.time_column || config.ignore_columns.iter().any(|ignored| ignored == name)
    };
    let columns = names.iter().enumerate().filter(|(_, name)| !no_metric(name));
    let metrics: Vec<(usize, String)> = columns.map(|(place, name)| (place, (*name).to_owned())).collect();
    for (place, (_, name)) in metrics.iter().enumerate() {
        if name.is_empty() || metrics[..place].iter().any(|(_, other)| other == name) {
            return Err(format!("the header has two columns `{name}`, or one without a name"));
        }
    }
    match metrics.is_empty() {
        true => Err("the header has no column that is a metric".to_owned()),
        false => Ok(metrics),
    }
}

fn number(metric: &str, text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is no number, as {metric} must be"))
}

/// The fields of a line, unquoted.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl Line {
    /// Takes the fields of a line that has no line feed.
    fn split(&mut self, line: &[u8]) -> Result<(), String> {
        // Unquoting never lengthens, and each field but the last has its comma: there is always room.
        self.bytes.resize(self.bytes.len().max(line.len() + 1), 0);
        self.ends.resize(self.ends.len().max(line.len() + 2), 0);
        let mut reader = csv_core::Reader::new();
        let (_, read, written, ends) = reader.read_record(line, &mut self.bytes, &mut self.ends);
        if !line[read..].iter().all(|byte| *byte == b'\r') {
            return Err("a carriage return without a line feed ends no line here".to_owned());
        }
        // No more input: ends the record, as a line break would.
        let (_, _, _, last) = reader.read_record(&[], &mut self.bytes[written..], &mut self.ends[ends..]);
        self.fields = ends + last;
        Ok(())
    }

    fn len(&self) -> usize {
        self.fields
    }

    fn text(&self, place: usize) -> Option<&str> {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        std::str::from_utf8(&self.bytes[start..self.ends[place]]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::shown;

    /// Decodes lines and shows each as `device@ts metric=value …`, or what is wrong with it.
    fn decode(config: &CsvConfig, lines: &[&str]) -> Vec<String> {
        let mut decoder = CsvDecoder::new(config);
        let show = |line: &&str| {
            let mut out = Vec::new();
            match decoder.decode(line.as_bytes(), &mut out) {
                Ok(None) => "-".to_owned(),
                Ok(Some(_)) => shown(&out),
                Err(Problem::Frame(problem)) => problem,
                Err(Problem::File(problem)) => format!("file: {problem}"),
            }
        };
        lines.iter().map(show).collect()
    }

    #[test]
    fn long() {
        let lines = [
            "\u{feff}device_id,ts,metric,value,remark",
            "a,5,t,1.5,",
            "\"b, c\",1970-01-01 00:00:01,\"say \"\"t\"\"\",-2e3,x",
            "",
            "a,5,t,",
            "a,soon,t,1,",
            "a,5,t,1",
            "a,5,\"t,1,2",
            "a,5,t,2,\ra,6,t,3,",
            "a,5,t,NaN,",
        ];
        assert_eq!(
            decode(&CsvConfig::default(), &lines),
            [
                "-",
                "a@5 t=1.5",
                "b, c@1000 say \"t\"=-2000",
                "-",
                "the line has 4 fields, the header 5",
                "`soon` is no time",
                "the line has 4 fields, the header 5",
                "the line has 3 fields, the header 5",
                "a carriage return without a line feed ends no line here",
                "a@5 t=NaN",
            ]
        );
    }

    #[test]
    fn wide() {
        let config = CsvConfig {
            time_column: "time".to_owned(),
            time_unit: TimeUnit::Seconds,
            device: Some("pump".to_owned()),
            ignore_columns: vec!["note".to_owned()],
            ..CsvConfig::default()
        };
        let lines = ["time,note,t,h", "1.5,hi,1,2", "2,,,", "3,,x,1"];
        assert_eq!(
            decode(&config, &lines),
            ["-", "pump@1500 h=2 t=1", "pump@2000", "`x` is no number, as t must be"]
        );
    }

    #[test]
    fn headers_that_do_not_fit() {
        let first = |header: &str| decode(&CsvConfig::default(), &[header]).remove(0);
        assert_eq!(
            first("time,device_id,t"),
            "file: the header has no column `ts`; set file.csv.time_column to one of time, device_id, t"
        );
        assert_eq!(first("ts,device_id"), "file: the header has no column that is a metric");
        assert!(first("ts,device_id,t,t").starts_with("file: the header has two columns `t`"));
        assert!(first("ts,t").contains("file.csv.device_column (or file.csv.device)"));
    }
}
