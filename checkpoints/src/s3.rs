//! Files in S3, or what speaks its protocol: a file is an object, and one request.

use super::store::{Store, StoreError, Tree};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;
use tidewatch_failpoints::{Injected, Point, check};
use tidewatch_settings::Secret;
use tokio::runtime::Runtime;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long anything may take, and besides a second for so many bytes.
const LIMIT: Duration = Duration::from_secs(30);
const BYTES_PER_S_LEAST: usize = 2 << 20;
/// How long reading a file may take, whose size is not known before.
const LIMIT_OF_GET: Duration = Duration::from_secs(120);
/// How often a put is tried again that another one was in the way of.
const CONFLICTS_MAX: usize = 5;

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The section of the configuration that says so: `state.s3`.
    pub section: &'static str,
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with: empty, or ending in `/`.
    pub prefix: String,
    /// The address of what is not AWS: `http://host:port`.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Whether the bucket is a part of the path, not of the host's name.
    pub path_style: bool,
    /// An access key's id and its secret; without, what the environment says: variables, profiles, the machine's role.
    pub access_key: Option<(String, Secret)>,
}

/// Why a bucket can't be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct S3Error {
    /// The key of the configuration to look at.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// A bucket, or what is behind a prefix in it.
#[derive(Debug)]
pub struct S3 {
    client: Client,
    bucket: String,
    prefix: String,
    runtime: Option<Runtime>,
}

/// What went wrong with a request.
struct Failure {
    /// The error's code, when the store has answered.
    code: Option<String>,
    problem: String,
}

impl S3 {
    /// A bucket that is there and can be read.
    ///
    /// # Errors
    /// What is wrong, and with which key of the configuration.
    pub fn open(settings: &S3Settings) -> Result<S3, S3Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| S3Error {
            key: settings.section.to_owned(),
            problem: format!("can't start its thread: {error}"),
        })?;
        let configured = wait(&runtime, LIMIT, configure(settings.clone()));
        let unusable = |failure: Failure| explain(settings, &failure);
        let s3 = S3 {
            client: Client::from_conf(configured.map_err(unusable)?),
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
            runtime: Some(runtime),
        };
        s3.list_page("", None, 1).map_err(unusable)?;
        Ok(s3)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn error(&self, name: &str, failure: &Failure) -> StoreError {
        StoreError::new(format!("{}/{name}", self.place()), &failure.problem)
    }

    /// Does a request on the thread of its own, so that it may be asked for from anywhere.
    fn wait<T, F>(&self, limit: Duration, future: F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: Send + 'static,
    {
        match &self.runtime {
            Some(runtime) => wait(runtime, limit, future),
            None => Err(Failure::of("it is closed")),
        }
    }

    /// Names that begin so from a page on, and how to get the next page.
    fn list_page(
        &self,
        beginning: &str,
        from: Option<String>,
        most: i32,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.key(beginning));
        let request = request.max_keys(most).set_continuation_token(from);
        let page = self.wait(LIMIT, async move { request.send().await.map_err(failure) })?;
        let keys = page.contents().iter().filter_map(|object| object.key());
        let names = keys.filter_map(|key| key.strip_prefix(&self.prefix));
        let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
        let next = page.next_continuation_token().map(str::to_owned);
        Ok((names.collect(), next.filter(|_| page.is_truncated() == Some(true))))
    }

    fn try_put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, Failure> {
        let request = self.client.put_object().bucket(&self.bucket).key(self.key(name));
        let request = request.if_none_match("*").body(ByteStream::from(bytes.to_vec()));
        check(Point::S3Put)?;
        let put = self.wait(limit(bytes.len()), async move { request.send().await.map_err(failure) });
        match put {
            Ok(_) => {
                check(Point::S3Stored)?;
                Ok(true)
            }
            Err(failure) if failure.is("PreconditionFailed") => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

impl Store for S3 {
    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
            .trim_end_matches('/')
            .to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let request = self.client.put_object().bucket(&self.bucket).key(self.key(name));
        let request = request.body(ByteStream::from(bytes.to_vec()));
        let put = check(Point::S3Put).map_err(Failure::from).and_then(|()| {
            self.wait(limit(bytes.len()), async move { request.send().await.map_err(failure) })?;
            Ok(check(Point::S3Stored)?)
        });
        put.map_err(|failure| self.error(name, &failure))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut conflicts = 0;
        loop {
            match self.try_put_new(name, bytes) {
                // Somebody is about to put it: whether they do is not known yet.
                Err(failure) if failure.is("ConditionalRequestConflict") && conflicts < CONFLICTS_MAX => conflicts += 1,
                put => return put.map_err(|failure| self.error(name, &failure)),
            }
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.key(name));
        let get = check(Point::S3Get).map_err(Failure::from).and_then(|()| {
            self.wait(LIMIT_OF_GET, async move {
                let answer = request.send().await.map_err(failure)?;
                let body = answer.body.collect().await;
                body.map(|bytes| bytes.to_vec())
                    .map_err(|error| Failure::of(&error.to_string()))
            })
        });
        get.map_err(|failure| self.error(name, &failure))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.list_in("")?;
        names.retain(|name| !name.contains('/'));
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(name));
        let removed = check(Point::S3Remove).map_err(Failure::from).and_then(|()| {
            self.wait(LIMIT, async move { request.send().await.map_err(failure) })?;
            Ok(check(Point::S3Removed)?)
        });
        match removed {
            Err(failure) if !failure.is("NoSuchKey") => Err(self.error(name, &failure)),
            _ => Ok(()),
        }
    }
}

impl Tree for S3 {
    fn list_in(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (mut names, mut from) = (Vec::new(), None);
        check(Point::S3List).map_err(|injected| self.error(folder, &injected.into()))?;
        loop {
            let page = self.list_page(folder, from, 1_000);
            let (more, next) = page.map_err(|failure| self.error(folder, &failure))?;
            names.extend(more);
            from = next;
            if from.is_none() {
                names.sort_unstable();
                return Ok(names);
            }
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // A runtime that is dropped inside of another one panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Failure {
    fn of(problem: &str) -> Failure {
        Failure {
            code: None,
            problem: problem.to_owned(),
        }
    }

    fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<Injected> for Failure {
    fn from(injected: Injected) -> Failure {
        Failure::of(&injected.to_string())
    }
}

async fn configure(settings: S3Settings) -> Result<aws_sdk_s3::Config, Failure> {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).build();
    let builder = match settings.access_key {
        Some((id, secret)) => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(id, secret.expose(), None, None, "configuration")),
        None => Builder::from(&aws_config::defaults(BehaviorVersion::latest()).load().await),
    };
    let builder = builder
        .region(Region::new(settings.region))
        .force_path_style(settings.path_style)
        .timeout_config(timeouts)
        // Tried again is by the writer: a put of what must be new is not the same the second time.
        .retry_config(RetryConfig::disabled())
        // The files have checksums of their own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let builder = match settings.endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    };
    Ok(builder.build())
}

/// How long a put of so many bytes may take.
fn limit(bytes: usize) -> Duration {
    LIMIT + Duration::from_secs((bytes / BYTES_PER_S_LEAST) as u64)
}

fn wait<T, F>(runtime: &Runtime, limit: Duration, future: F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let (sender, answer) = mpsc::channel();
    runtime.spawn(async move {
        let late = |_| Err(Failure::of(&format!("no answer within {} s", limit.as_secs())));
        let ended = tokio::time::timeout(limit, future).await.unwrap_or_else(late);
        // Whoever asked waits for it.
        let _ = sender.send(ended);
    });
    let lost = |_| Err(Failure::of("the request was given up"));
    answer.recv().unwrap_or_else(lost)
}

fn failure<E>(error: SdkError<E>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned).or_else(|| match status {
        Some(412) => Some("PreconditionFailed".to_owned()),
        Some(409) => Some("ConditionalRequestConflict".to_owned()),
        _ => None,
    });
    let problem = match (&code, error.message(), status) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code.clone(),
        (None, _, Some(status)) => format!("the answer is HTTP {status}"),
        (None, _, None) => causes(&error),
    };
    Failure { code, problem }
}

/// An error and what is behind it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    causes.join(": ")
}

/// Which key to look at.
fn explain(settings: &S3Settings, failure: &Failure) -> S3Error {
    let bucket = &settings.bucket;
    let (key, problem) = match failure.code.as_deref() {
        Some("NoSuchBucket") => (
            "bucket",
            format!("there is no bucket {bucket}: create it, or name another"),
        ),
        Some("InvalidAccessKeyId" | "XAdminUserNotFound") => ("access_key_id", "the store doesn't know it".to_owned()),
        Some("SignatureDoesNotMatch") => (
            "secret_key_file",
            "it doesn't hold the secret of this access key".to_owned(),
        ),
        Some("AccessDenied") => ("bucket", format!("the access key may not list {bucket}")),
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            ("region", format!("{bucket} is in another region: {}", failure.problem))
        }
        Some(_) => ("bucket", format!("{bucket} can't be read: {}", failure.problem)),
        None => {
            let place = settings.endpoint.as_deref().unwrap_or("AWS");
            ("endpoint", format!("{place} can't be reached: {}", failure.problem))
        }
    };
    let key = format!("{}.{key}", settings.section);
    S3Error { key, problem }
}
