// Owns what a finished run says about itself: the value that is printed, kept as JSON and compared with others.
//
// It must never hold a figure without what is needed to judge it (how the load was made, on what, for how long), and
// never mix failures into a success latency. All latencies are in nanoseconds. The JSON form follows from these
// declarations, and ``BenchResult/currentSchema`` changes when they change in a way that a reader would trip over.

/// Everything that one run of one scenario found.
package struct BenchResult: Sendable, Equatable, Codable {
  package static let currentSchema = "portcullis.bench/2"

  package var schema: String
  /// What was run, such as "put".
  package var scenario: String
  /// When the run began, in UTC, as ISO 8601.
  package var startedAt: String
  package var configuration: LoadConfiguration
  /// The same for two runs whose `configuration` is the same, and as good as never otherwise. Nil in results from before
  /// there was one.
  package var configurationDigest: String?
  package var environment: RunEnvironment
  package var target: TargetDescription
  package var ending: RunEnding
  package var judgement: Judgement
  package var warmUp: WarmUpRecord
  package var measured: LoadFigures
  package var generator: GeneratorFigures
  /// Where the target says that the time of its commits went. Nil where it does not say, as etcd does not.
  package var commits: CommitBreakdown?
  /// The measured part in slices, for a chart and for finding a stall.
  package var timeline: [TimelineSlice]

  package init(
    scenario: String, startedAt: String, configuration: LoadConfiguration, environment: RunEnvironment,
    target: TargetDescription, ending: RunEnding, judgement: Judgement, warmUp: WarmUpRecord, measured: LoadFigures,
    generator: GeneratorFigures, timeline: [TimelineSlice]
  ) {
    schema = Self.currentSchema
    self.scenario = scenario
    self.startedAt = startedAt
    self.configuration = configuration
    self.environment = environment
    self.target = target
    self.ending = ending
    self.judgement = judgement
    self.warmUp = warmUp
    self.measured = measured
    self.generator = generator
    self.timeline = timeline
  }
}

/// Why the run was over.
package enum RunEnding: String, Sendable, Codable {
  /// It did all it was asked to do.
  case completed
  /// Somebody stopped it. The figures are those of the part that ran.
  case interrupted
  /// The target was gone for longer than a run waits for it. The figures are those of the part that ran.
  case targetLost
}

/// How the warm-up went. Nothing of it is in the measured figures.
package struct WarmUpRecord: Sendable, Equatable, Codable {
  package enum End: String, Sendable, Codable {
    /// None was asked for.
    case skipped
    /// Rate and latency stopped moving.
    case steady
    /// The time that was asked for was over.
    case fixed
    /// The cap was reached before the load was steady.
    case cap
    /// The run was over before the warm-up was.
    case unfinished
  }

  package var end: End
  package var durationNanoseconds: UInt64
  package var operations: UInt64

  package init(end: End, durationNanoseconds: UInt64, operations: UInt64) {
    self.end = end
    self.durationNanoseconds = durationNanoseconds
    self.operations = operations
  }
}

/// Whom the load was sent to.
package struct TargetDescription: Sendable, Equatable, Codable {
  package var endpoints: [String]
  /// The version that the target states, where it states one.
  package var version: String?
  /// The cluster's identity in hexadecimal, as etcd's tools print it: a JSON number would lose its low bits in many readers.
  package var cluster: String?

  package init(endpoints: [String], version: String? = nil, cluster: String? = nil) {
    self.endpoints = endpoints
    self.version = version
    self.cluster = cluster
  }
}

/// One slice of the measured part of a run.
package struct TimelineSlice: Sendable, Equatable, Codable {
  /// When the slice ended, counted from the start of the measured part.
  package var endNanoseconds: UInt64
  package var durationNanoseconds: UInt64
  package var succeeded: UInt64
  package var failed: UInt64
  package var inFlight: Int
  package var p50Nanoseconds: UInt64?
  package var p99Nanoseconds: UInt64?
  package var maximumNanoseconds: UInt64

  package init(
    endNanoseconds: UInt64, durationNanoseconds: UInt64, succeeded: UInt64, failed: UInt64, inFlight: Int,
    latency: LatencyHistogram
  ) {
    self.endNanoseconds = endNanoseconds
    self.durationNanoseconds = durationNanoseconds
    self.succeeded = succeeded
    self.failed = failed
    self.inFlight = inFlight
    p50Nanoseconds = latency.percentile(50)
    p99Nanoseconds = latency.percentile(99)
    maximumNanoseconds = latency.max
  }
}
