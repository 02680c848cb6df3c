//! What an agent can be asked, a method each.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request};

use super::{ASK, Client, ClientError, WORK, escape, pieces, post_json};
use crate::api::wire::{BUILD_HEADER, BuildOptions, decode_items};
use crate::api::{
    ApiError, AppDetail, AppStats, AppSummary, AuditLog, Authority, AutoscaleView, Difference,
    EventsQuery, ForgetRun, Happening, HostChange, HostChanged, HostDetail, HostPlan, ImageKnown,
    InitRequest, JobView, JoinRequest, LogLine, LogsQuery, NetworkReport, NetworkView, Node,
    OperatorRemoved, OperatorRequest, OperatorToken, OperatorView, PeerReport, PlanPreview,
    ProviderChange, ProviderView, Removal, RemoveOperatorRequest, RemoveRequest, RenewRequest,
    Renewal, ResolverReport, RevisionView, RunName, StartRun, Status, SubmitRequest, Submitted,
    Token, TokenRequest,
};
use crate::docker::{BoxStream, BuildImage};
use crate::model::{AppName, SealedRevision};

impl Client {
    /// [`crate::api::Backend::status`].
    ///
    /// # Errors
    ///
    /// This and the other methods: no answer, or the agent's own error.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status", ASK).await
    }

    /// [`crate::api::Backend::init`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn init(&self, request: &InitRequest) -> Result<Status, ClientError> {
        self.post("/v1/init", request, WORK).await
    }

    /// [`crate::api::Backend::join`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn join(&self, request: &JoinRequest) -> Result<Status, ClientError> {
        self.post("/v1/join", request, WORK).await
    }

    /// [`crate::api::Backend::create_token`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn create_token(&self, request: &TokenRequest) -> Result<Token, ClientError> {
        self.post("/v1/tokens", request, ASK).await
    }

    /// [`crate::api::Backend::operators`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn operators(&self) -> Result<Vec<OperatorView>, ClientError> {
        self.get("/v1/operators", ASK).await
    }

    /// [`crate::api::Backend::create_operator`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn create_operator(
        &self,
        request: &OperatorRequest,
    ) -> Result<OperatorToken, ClientError> {
        self.post("/v1/operators/create", request, ASK).await
    }

    /// [`crate::api::Backend::remove_operator`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn remove_operator(
        &self,
        request: &RemoveOperatorRequest,
    ) -> Result<OperatorRemoved, ClientError> {
        self.post("/v1/operators/remove", request, WORK).await
    }

    /// [`crate::api::Backend::renew`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn renew(&self, request: &RenewRequest) -> Result<Renewal, ClientError> {
        self.post("/v1/operators/renew", request, ASK).await
    }

    /// [`crate::api::Backend::authority`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn authority(&self) -> Result<Authority, ClientError> {
        self.get("/v1/ca", ASK).await
    }

    /// [`crate::api::Backend::rotate_authority`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn rotate_authority(&self) -> Result<Authority, ClientError> {
        self.post("/v1/ca/rotate", &(), WORK).await
    }

    /// [`crate::api::Backend::nodes`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        self.get("/v1/nodes", ASK).await
    }

    /// [`crate::api::Backend::peers`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn peers(&self) -> Result<Vec<PeerReport>, ClientError> {
        self.get("/v1/peers", WORK).await
    }

    /// [`crate::api::Backend::network_report`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn network_report(&self) -> Result<NetworkReport, ClientError> {
        self.get("/v1/paths", WORK).await
    }

    /// [`crate::api::Backend::resolver`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn resolver(&self) -> Result<ResolverReport, ClientError> {
        self.get("/v1/resolver", ASK).await
    }

    /// [`crate::api::Backend::stats`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn stats(&self, app: &AppName) -> Result<AppStats, ClientError> {
        self.get(&format!("/v1/apps/{}/stats", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Backend::autoscale`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn autoscale(&self, app: &AppName) -> Result<Vec<AutoscaleView>, ClientError> {
        self.get(&format!("/v1/apps/{}/autoscale", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Backend::networks`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn networks(&self) -> Result<Vec<NetworkView>, ClientError> {
        self.get("/v1/networks", ASK).await
    }

    /// [`crate::api::Backend::host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn host(&self, host: &str) -> Result<HostDetail, ClientError> {
        self.get(&format!("/v1/nodes/{}", escape(host)), ASK).await
    }

    /// [`crate::api::Backend::plan_host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn plan_host(&self, change: &HostChange) -> Result<HostPlan, ClientError> {
        self.post("/v1/nodes/plan", change, ASK).await
    }

    /// [`crate::api::Backend::change_host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn change_host(&self, change: &HostChange) -> Result<HostChanged, ClientError> {
        self.post("/v1/nodes/change", change, WORK).await
    }

    /// [`crate::api::Backend::remove_node`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn remove_node(&self, request: &RemoveRequest) -> Result<Removal, ClientError> {
        let path = if request.dry_run { "/v1/nodes/remove/plan" } else { "/v1/nodes/remove" };
        self.post(path, request, WORK).await
    }

    /// [`crate::api::Backend::audit`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn audit(&self, limit: usize) -> Result<AuditLog, ClientError> {
        self.get(&format!("/v1/audit?limit={limit}"), ASK).await
    }

    /// [`crate::api::Backend::apps`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn apps(&self) -> Result<Vec<AppSummary>, ClientError> {
        self.get("/v1/apps", ASK).await
    }

    /// [`crate::api::Backend::app`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn app(&self, app: &AppName) -> Result<AppDetail, ClientError> {
        self.get(&format!("/v1/apps/{}", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Backend::revision`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn revision(&self, app: &AppName) -> Result<SealedRevision, ClientError> {
        self.get(&format!("/v1/apps/{}/revision", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Backend::history`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn history(&self, app: &AppName) -> Result<Vec<RevisionView>, ClientError> {
        self.get(&format!("/v1/apps/{}/history", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Backend::revision_at`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn revision_at(
        &self,
        app: &AppName,
        which: &str,
    ) -> Result<SealedRevision, ClientError> {
        let (app, which) = (escape(app.as_str()), escape(which));
        self.get(&format!("/v1/apps/{app}/revisions/{which}"), ASK).await
    }

    /// [`crate::api::Backend::diff`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn diff(
        &self,
        app: &AppName,
        from: &str,
        to: &str,
    ) -> Result<Vec<Difference>, ClientError> {
        let (app, from, to) = (escape(app.as_str()), escape(from), escape(to));
        self.get(&format!("/v1/apps/{app}/diff/{from}/{to}"), ASK).await
    }

    /// [`crate::api::Backend::plan`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn plan(
        &self,
        revision: &SealedRevision,
        retry: bool,
    ) -> Result<PlanPreview, ClientError> {
        let path = if retry { "/v1/plan?retry=true" } else { "/v1/plan" };
        self.post(path, revision, WORK).await
    }

    /// [`crate::api::Jobs::jobs`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn jobs(&self, app: &AppName) -> Result<Vec<JobView>, ClientError> {
        self.get(&format!("/v1/apps/{}/jobs", escape(app.as_str())), ASK).await
    }

    /// [`crate::api::Machines::provider`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn provider(&self) -> Result<ProviderView, ClientError> {
        self.get("/v1/provider", ASK).await
    }

    /// [`crate::api::Machines::set_provider`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn set_provider(&self, change: &ProviderChange) -> Result<ProviderView, ClientError> {
        self.post("/v1/provider/set", change, WORK).await
    }

    /// [`crate::api::Jobs::start_run`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn start_run(&self, request: &StartRun) -> Result<RunName, ClientError> {
        self.post("/v1/runs/start", request, WORK).await
    }

    /// [`crate::api::Jobs::forget_run`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn forget_run(&self, request: &ForgetRun) -> Result<RunName, ClientError> {
        self.post("/v1/runs/forget", request, WORK).await
    }

    /// [`crate::api::Backend::submit`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn submit(&self, request: &SubmitRequest) -> Result<Submitted, ClientError> {
        self.post("/v1/submit", request, WORK).await
    }

    /// [`crate::api::Backend::image_known`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn image_known(&self, reference: &str) -> Result<ImageKnown, ClientError> {
        self.get(&format!("/v1/images?reference={}", escape(reference)), ASK).await
    }

    /// [`crate::api::Backend::logs`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn logs(
        &self,
        query: &LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ClientError> {
        let response = self.send(post_json("/v1/logs", query), Some(WORK)).await?;
        Ok(decode_items(pieces(response)))
    }

    /// [`crate::api::Backend::events`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn events(
        &self,
        query: &EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ClientError> {
        let response = self.send(post_json("/v1/events", query), Some(WORK)).await?;
        Ok(decode_items(pieces(response)))
    }

    /// [`crate::api::Backend::build`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn build(
        &self,
        build: BuildImage,
        context: BoxStream<io::Result<Bytes>>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ClientError> {
        let body = StreamBody::new(context.map(|piece| piece.map(Frame::data)));
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/build")
            .header(BUILD_HEADER, BuildOptions::from(build).to_header())
            .body(BodyExt::boxed_unsync(body))
            .expect("base64 can be a header");
        // The first word may come only after all of the context has gone.
        let response = self.send(request, None).await?;
        Ok(decode_items(pieces(response)))
    }
}
