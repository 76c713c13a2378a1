//! `/v1/series/…` and `/v1/rollups/…`: rows of one series, or of one site's or fleet's rollup.

use super::query::{Asked, Scope};
use super::rows::Page;
use super::{reply, with};
use crate::answer::Shared;
use crate::handles::Event;
use crate::problem::{Problem, ProblemKind};
use crate::reader::ReadError;
use std::sync::Arc;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, any, path};

/// The routes of each scope.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let device = path!("v1" / "series" / String / String).map(|key, metric| (Scope::Device, key, metric));
    let site = path!("v1" / "rollups" / "site" / String / String).map(|key, metric| (Scope::Site, key, metric));
    let fleet = path!("v1" / "rollups" / "fleet" / String / String).map(|key, metric| (Scope::Fleet, key, metric));
    let query = warp::query::raw().or(any().map(String::new)).unify();
    let scope = device.or(site).unify().or(fleet).unify();
    scope
        .and(query)
        .and(path::full())
        .and(with(shared))
        .then(|(scope, key, metric): (Scope, String, String), query: String, path: FullPath, shared: Arc<Shared>| {
            async move { reply(rows(&shared, path.as_str(), Asked::parse(scope, &key, &metric, &query)).await) }
        })
        .boxed()
}

async fn rows(shared: &Shared, path: &str, asked: Result<Asked, Problem>) -> Result<impl Reply + use<>, Problem> {
    let asked = asked?;
    match read(shared, path, &asked).await? {
        Some((rows, as_of)) => Ok(warp::reply::json(&Page::new(&asked, rows, as_of))),
        None => {
            let query = &asked.query;
            let (noun, key, metric) = (asked.scope.noun(), &query.key, &query.metric);
            let detail = format!(
                "there are no {} rows of {noun} {key:?} and metric {metric:?}",
                asked.window
            );
            Err(Problem::new(ProblemKind::UnknownSeries, detail))
        }
    }
}

/// Reads on a thread that may block; at most so many at a time, those whose client has gone included.
async fn read(shared: &Shared, path: &str, asked: &Asked) -> Result<Option<(Vec<Row>, Option<Epoch>)>, Problem> {
    let failed = || Problem::new(ProblemKind::Internal, "the rows can't be read; the log says why");
    let permit = shared.reads.clone().acquire_owned().await.map_err(|_| failed())?;
    let (reader, query) = (shared.handles.series.clone(), asked.query_one_more());
    let reading = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let as_of = reader.as_of();
        Ok::<_, ReadError>(reader.series(query)?.map(|rows| (rows, as_of)))
    });
    match reading.await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            (shared.handles.events)(Event::ReadFailed { path, error: &error });
            Err(Problem::new(
                error.kind().into(),
                "the rows can't be read; the log says why",
            ))
        }
        Err(_) => {
            (shared.handles.events)(Event::ReadPanicked { path });
            Err(failed())
        }
    }
}
