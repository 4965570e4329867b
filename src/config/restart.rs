//! Which options cannot change while the relay runs.

use super::{Api, Config, Http, Limits, Listen, Log, Play, Publish};

impl Config {
    /// The keys of options that differ in `new` and take effect only after a restart. All others take effect as soon as
    /// `new` is in force.
    ///
    /// The patterns name every option, so that a new one does not compile without a decision: `_` means that an option
    /// can change.
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let Config {
            cores,
            pin_cores,
            shutdown_timeout: _,
            streams: _,
            access: _,
            users: _,
            listen,
            publish,
            play,
            limits,
            jwt: _,
            tls: _,
            hooks: _,
            proxy: _,
            http,
            api,
            log,
        } = self;
        let Listen { rtmp, rtmps, http: listen_http, https, is_default_http: _ } = listen;
        let Publish { on_second_publisher: _, takeover_after: _, publisher_grace: _ } = publish;
        // Stream logs keep stream_buffer bytes and at least max_lag: the registry reads both once, at the start.
        let Play {
            start: _,
            wait_for_publisher: _,
            max_lag,
            send_timeout: _,
            stream_buffer,
            ping_interval: _,
            merge_window: _,
            latency_budget: _,
            zero_copy_threshold,
        } = play;
        let Limits {
            connections: _,
            connections_per_address: _,
            connections_per_network: _,
            connections_per_block: _,
            exempt: _,
            handshakes: _,
            handshakes_per_address: _,
            handshakes_per_network: _,
            handshakes_per_block: _,
            handshake_timeout: _,
            request_timeout: _,
            publisher_timeout: _,
            streams: _,
            memory_budget: _,
            publisher_kbps: _,
            messages_per_second: _,
            video_message: _,
            audio_message: _,
            data_message: _,
            command_message: _,
            partial_messages: _,
            partial_bytes: _,
            wrong_credentials: _,
        } = limits;
        let Http {
            header_timeout: _,
            allow_origins: _,
            metrics_max_streams: _,
            redirect_to_https: _,
            https_host: _,
            hsts: _,
        } = http;
        // A token is generated only at the start. `read_token` is what `read_token_file` contains.
        let Api {
            listen: api_listen,
            token,
            token_file,
            read_token: _,
            read_token_file: _,
            allow_origins: _,
        } = api;
        let Log { format, level: _, lines_per_network: _ } = log;
        let options = [
            ("cores", *cores != new.cores),
            ("pin_cores", *pin_cores != new.pin_cores),
            ("listen.rtmp", *rtmp != new.listen.rtmp),
            ("listen.rtmps", *rtmps != new.listen.rtmps),
            ("listen.http", *listen_http != new.listen.http),
            ("listen.https", *https != new.listen.https),
            ("play.max_lag", *max_lag != new.play.max_lag),
            ("play.stream_buffer", *stream_buffer != new.play.stream_buffer),
            ("play.zero_copy_threshold", *zero_copy_threshold != new.play.zero_copy_threshold),
            ("api.listen", *api_listen != new.api.listen),
            ("api.token", !token.is_empty() && new.api.token.is_empty()),
            ("api.token_file", *token_file != new.api.token_file),
            ("log.format", *format != new.log.format),
        ];
        options.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    /// This configuration with what [`Config::needs_restart`] names as it is in `first`, the one of the start.
    #[must_use]
    pub fn with_fixed_options_of(mut self, first: &Config) -> Config {
        (self.cores, self.pin_cores) = (first.cores, first.pin_cores);
        self.listen = first.listen.clone();
        let (play, first_play) = (&mut self.play, &first.play);
        (play.max_lag, play.stream_buffer) = (first_play.max_lag, first_play.stream_buffer);
        play.zero_copy_threshold = first_play.zero_copy_threshold;
        self.api.listen.clone_from(&first.api.listen);
        if self.api.token.is_empty() {
            self.api.token.clone_from(&first.api.token);
        }
        self.api.token_file.clone_from(&first.api.token_file);
        self.log.format = first.log.format;
        self
    }
}
