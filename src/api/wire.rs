//! What router and client must agree on beside the types: the form of a stream, and build options
//! in a header.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::docker::{BoxStream, BuildImage};

/// Header of a build request: [`BuildOptions`] as JSON in base64, since a header cannot carry every
/// character a build argument may have.
pub const BUILD_HEADER: &str = "muster-build";

/// A line of a stream may not be longer: a log line is cut at 64 KiB, and escaping may make six
/// bytes of one.
const LINE_MAX: usize = 1024 * 1024;

/// One line of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamItem<T> {
    /// The next item.
    Line(T),
    /// Why the stream ends.
    Error(ApiError),
}

/// [`BuildImage`] as it travels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOptions {
    /// The reference the image gets.
    pub reference: String,
    /// Path of the Dockerfile within the context.
    pub dockerfile: String,
    /// Build arguments.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// The stage to stop at.
    #[serde(default)]
    pub target: Option<String>,
    /// Labels of the image.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Ask registries for newer base images.
    #[serde(default)]
    pub pull: bool,
    /// Do not use the cache.
    #[serde(default)]
    pub no_cache: bool,
    /// Network of the steps.
    #[serde(default)]
    pub network: Option<String>,
    /// Size of `/dev/shm` of the steps, bytes.
    #[serde(default)]
    pub shm_size: Option<i32>,
}

impl BuildOptions {
    /// The value of [`BUILD_HEADER`].
    pub fn to_header(&self) -> String {
        let json = serde_json::to_vec(self).expect("options are strings, maps and flags");
        BASE64.encode(&json)
    }

    /// Reads the value of [`BUILD_HEADER`].
    ///
    /// # Errors
    ///
    /// When it is no base64 or no options.
    pub fn from_header(value: &[u8]) -> Result<Self, ApiError> {
        let broken = |detail: String| {
            ApiError::user(format!("header `{BUILD_HEADER}` cannot be read: {detail}"))
        };
        let json = BASE64.decode(value).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))
    }
}

impl From<BuildImage> for BuildOptions {
    fn from(build: BuildImage) -> Self {
        let BuildImage {
            reference,
            dockerfile,
            args,
            target,
            labels,
            pull,
            no_cache,
            network,
            shm_size,
        } = build;
        Self { reference, dockerfile, args, target, labels, pull, no_cache, network, shm_size }
    }
}

impl From<BuildOptions> for BuildImage {
    fn from(options: BuildOptions) -> Self {
        let BuildOptions {
            reference,
            dockerfile,
            args,
            target,
            labels,
            pull,
            no_cache,
            network,
            shm_size,
        } = options;
        Self { reference, dockerfile, args, target, labels, pull, no_cache, network, shm_size }
    }
}

/// One item as a line of JSON.
pub fn encode_item<T: Serialize>(item: Result<T, ApiError>) -> Bytes {
    let item = match item {
        Ok(item) => StreamItem::Line(item),
        Err(error) => StreamItem::Error(error),
    };
    let mut line = serde_json::to_vec(&item).expect("what is streamed is strings and flags");
    line.push(b'\n');
    Bytes::from(line)
}

/// The items of a stream of JSON lines. It ends at its end, or after the first error: one that was
/// sent, or one of the connection.
pub fn decode_items<T, S>(pieces: S) -> BoxStream<Result<T, ApiError>>
where
    T: DeserializeOwned + Send + 'static,
    S: Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static,
{
    let reader = Reader { pieces, held: BytesMut::new(), ended: false };
    Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
        let item = reader.next().await?;
        reader.ended = item.is_err();
        Some((item, reader))
    }))
}

struct Reader<S> {
    pieces: S,
    held: BytesMut,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, String>> + Unpin> Reader<S> {
    async fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, ApiError>> {
        while !self.ended {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(end + 1);
                return Some(read_item(&line[..end]));
            }
            if self.held.len() > LINE_MAX {
                return Some(Err(ApiError::cluster("the agent sent a line without end")));
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(detail)) => {
                    let words = format!("the stream from the agent broke: {detail}");
                    return Some(Err(ApiError::cluster(words)));
                }
                None => self.ended = true,
            }
        }
        None
    }
}

fn read_item<T: DeserializeOwned>(line: &[u8]) -> Result<T, ApiError> {
    match serde_json::from_slice(line) {
        Ok(StreamItem::Line(item)) => Ok(item),
        Ok(StreamItem::Error(error)) => Err(error),
        Err(error) => {
            Err(ApiError::cluster(format!("the agent sent a line that cannot be read: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: Vec<Result<Bytes, String>>) -> Vec<Result<String, String>> {
        let items = decode_items::<String, _>(futures_util::stream::iter(pieces));
        items.map(|item| item.map_err(|error| error.message)).collect().await
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let mut bytes = encode_item(Ok("a\nb")).to_vec();
        bytes.extend_from_slice(&encode_item(Ok("ü")));
        let pieces = bytes.chunks(3).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        assert_eq!(read(pieces).await, [Ok("a\nb".to_owned()), Ok("ü".to_owned())]);
    }

    #[tokio::test]
    async fn nothing_follows_an_error() {
        let sent = encode_item::<String>(Err(ApiError::user("no such stage")));
        let after = encode_item(Ok("late"));
        let items = read(vec![Ok(sent), Ok(after.clone())]).await;
        assert_eq!(items, [Err("no such stage".to_owned())]);
        let items = read(vec![Err("reset".to_owned()), Ok(after)]).await;
        assert_eq!(items, [Err("the stream from the agent broke: reset".to_owned())]);
    }

    #[test]
    fn build_options_survive_the_header() {
        let options = BuildOptions {
            reference: "shop-web:muster-1".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            args: BTreeMap::from([("NAME".to_owned(), "zwei\nZeilen".to_owned())]),
            target: Some("final".to_owned()),
            labels: BTreeMap::new(),
            pull: true,
            no_cache: false,
            network: Some("host".to_owned()),
            shm_size: Some(64 * 1024 * 1024),
        };
        assert_eq!(BuildOptions::from_header(options.to_header().as_bytes()), Ok(options));
        assert!(BuildOptions::from_header(b"{}").is_err());
    }
}
