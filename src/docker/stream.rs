//! Streams written as a future with a sender. Never spawns a task: the future lives and dies with
//! its stream.

use std::future::Future;

use futures_util::stream;
use tokio::sync::mpsc;

use super::BoxStream;

/// One item waits while the next is made; more would only hide a slow reader.
const ITEMS_WAITING_MAX: usize = 1;

/// A stream of what a channel receives.
pub(crate) fn stream_of<T: Send + 'static>(inbox: mpsc::Receiver<T>) -> BoxStream<T> {
    Box::pin(stream::unfold(inbox, async |mut inbox| inbox.recv().await.map(|item| (item, inbox))))
}

/// The stream of all that `body` sends; it ends when `body` does.
pub(super) fn generate<T, F>(body: impl FnOnce(mpsc::Sender<T>) -> F) -> BoxStream<T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(ITEMS_WAITING_MAX);
    let mut running = Some(Box::pin(body(sender)));
    Box::pin(stream::poll_fn(move |context| {
        if let Some(future) = &mut running
            && future.as_mut().poll(context).is_ready()
        {
            running = None;
        }
        receiver.poll_recv(context)
    }))
}
