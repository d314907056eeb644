// Owns what can be asked of a load, the defaults, and which wishes are refused.
//
// Invariant: once ``LoadOptions/validated()`` has returned, nothing in a run traps on an option.

import Logging
package import Measurement
package import Wire

package struct LoadOptions: Sendable, Equatable {
  /// How a warm-up ends.
  package enum WarmUp: Sendable, Equatable {
    case none
    /// When rate and latency are steady, after this long at the latest.
    case untilSteady(cap: Duration)
    case fixed(Duration)
  }

  package static let defaultKeyPrefix = "portcullis/bench/"

  package var operation = OperationSetting.put
  /// For writes: whose tokens they show.
  package var write: WriteTarget?
  /// One cluster's endpoints, or for writes one gateway's. Connections go round them in order.
  package var endpoints: [String] = ["127.0.0.1:2379"]
  /// How TLS is spoken with endpoints whose scheme is `https`.
  package var tls = TLSSettings(applicationProtocols: TLSSettings.clientProtocols)
  package var shape: LoadShape = .closed(clients: 1)
  package var connections = 1
  /// The length of the measured part. At least one of `duration` and `totalOperations` must be there; whichever is
  /// reached first ends the run.
  package var duration: Duration? = .seconds(10)
  package var totalOperations: UInt64?
  package var warmUp: WarmUp = .untilSteady(cap: .seconds(10))
  package var keyPrefix = Self.defaultKeyPrefix
  package var keySizeBytes = 32
  package var keyCount: UInt64 = 10_000
  package var keyOrder: KeyOrder = .random
  package var valueSizeBytes = 256
  /// Whose disk and file system a result tells of: where the target keeps its files, if that is known. Nil: the working
  /// directory.
  package var targetDirectory: String?
  package var seed: UInt64 = 1
  /// An operation that has no answer after this long counts as failed.
  package var callTimeout: Duration = .seconds(10)
  /// With no connection left for this long, the target counts as lost.
  package var reconnectPatience: Duration = .seconds(10)
  /// Threads of the generator. Nil for half of the processors: the other half is the target's when it runs here too.
  package var eventLoops: Int?
  package var budget: GeneratorBudget = .standard
  /// For a search: how far a run of a slow rate is lengthened beyond `duration`, until its percentile is one.
  package var longestTrial: Duration = .seconds(60)
  /// For a search: where the target's nodes serve their metrics. Nil for the endpoints themselves.
  package var metrics: [String]?
  /// How many processors each node has. Nil for what it says itself.
  package var targetProcessors: Int?

  package init() {}
}

/// Options that have been checked, in the units in which the run uses them.
struct LoadPlan: Sendable {
  var endpoints: [Endpoint]
  /// Nil when no endpoint speaks TLS.
  var tls: TLSSource?
  var configuration: LoadConfiguration
  var warmUp: LoadOptions.WarmUp
  var reconnectPatienceNanoseconds: UInt64
  var budget: GeneratorBudget
  var write: WriteTarget?
  /// Whose account of their commits goes into the result.
  var nodes: TargetCounters
  /// See ``LoadOptions/targetDirectory``.
  var targetDirectory: String?
}

extension LoadOptions {
  /// The bounds of what is accepted. They are far beyond sense and there to turn a slip of the keyboard into a
  /// message instead of a machine out of memory.
  private enum Limit {
    static let connections = 10_000
    static let clients = 1_000_000
    static let eventLoops = 256
    static let keySizeBytes = 32 * 1_024
    /// etcd takes requests of 1.5 MiB.
    static let valueSizeBytes = 64 * 1_024 * 1_024
    static let duration = Duration.seconds(30 * 24 * 3_600)
  }

  /// Throws what a run of these options would throw before it began.
  package func check() throws(WorkloadError) { _ = try validated() }

  /// Checks every option, and says of the first bad one what was seen and what is accepted.
  func validated() throws(WorkloadError) -> LoadPlan {
    guard !endpoints.isEmpty else { throw refusal("no endpoint was given; one is needed") }
    var parsed: [Endpoint] = []
    for endpoint in endpoints { parsed.append(try Endpoint(parsing: endpoint)) }
    for address in metrics ?? [] { _ = try Endpoint(parsing: address) }
    if let targetProcessors { try check(targetProcessors, "processors of a node", 1...100_000) }
    try check(connections, "connections", 1...Limit.connections)
    try checkShape()
    try checkLength()
    try checkKeys()
    try checkOperation(operation)
    let loops = Swift.min(eventLoops ?? Swift.max(1, ProcessFacts.processorCount / 2), connections, mostLoops)
    try check(loops, "event loops", 1...Limit.eventLoops)
    return LoadPlan(
      endpoints: parsed, tls: try source(for: parsed),
      configuration: LoadConfiguration(
        operation: operation, shape: shape, connections: connections, eventLoops: loops,
        durationNanoseconds: duration?.wholeNanoseconds, totalOperations: totalOperations,
        callTimeoutNanoseconds: callTimeout.wholeNanoseconds, keyPrefix: keyPrefix, keySizeBytes: keySizeBytes,
        keyCount: keyCount, keyOrder: keyOrder, valueSizeBytes: valueSizeBytes, seed: seed),
      warmUp: warmUp, reconnectPatienceNanoseconds: reconnectPatience.wholeNanoseconds, budget: budget,
      write: write, nodes: try TargetCounters(of: self), targetDirectory: targetDirectory)
  }

  /// What is taken or watched in turn is kept on one event loop each, so there are no more loops than of it.
  private var mostLoops: Int {
    switch operation {
    case .lock(let count, _), .watch(let count), .renew(let count, _): Swift.max(1, count)
    default: .max
    }
  }

  private func source(for endpoints: [Endpoint]) throws(WorkloadError) -> TLSSource? {
    guard endpoints.contains(where: \.usesTLS) else { return nil }
    var logger = Logger(label: "portcullis.bench")
    logger.logLevel = .warning
    do {
      return try TLSSource(tls, .client, logger: logger)
    } catch {
      throw refusal("\(error)")
    }
  }

  private func checkShape() throws(WorkloadError) {
    switch shape {
    case .closed(let clients):
      try check(clients, "clients", 1...Limit.clients)
      guard connections <= clients else {
        throw refusal(
          "\(connections) connections for \(clients) clients would leave some idle; "
            + "give at most as many connections as clients")
      }
    case .open(_, let rate, let maxInFlight):
      guard ArrivalSchedule.acceptedRatePerSecond.contains(rate) else {
        throw refusal("a rate of \(rate) a second cannot be offered; it must be between 0.000001 and 1000000000")
      }
      try check(maxInFlight, "operations in flight", 1...Limit.clients)
    }
  }

  private func checkLength() throws(WorkloadError) {
    guard duration != nil || totalOperations != nil else {
      throw refusal("neither a duration nor a number of operations was given, so the run would never end")
    }
    if let duration { try check(duration, "duration") }
    if let totalOperations, totalOperations == 0 { throw refusal("a run of 0 operations measures nothing") }
    try check(callTimeout, "call timeout")
    try check(reconnectPatience, "reconnect patience")
    switch warmUp {
    case .none: break
    case .untilSteady(let length), .fixed(let length): try check(length, "warm-up")
    }
  }

  private func checkKeys() throws(WorkloadError) {
    try check(keySizeBytes, "bytes of key", 1...Limit.keySizeBytes)
    try check(valueSizeBytes, "bytes of value", 0...Limit.valueSizeBytes)
    guard keyCount > 0 else { throw refusal("a load over 0 keys has nothing to put") }
    let needed = keyPrefix.utf8.count + String(keyCount - 1).utf8.count
    guard needed <= keySizeBytes else {
      throw refusal(
        "\(keyCount) keys that begin with \"\(keyPrefix)\" need \(needed) bytes each, and \(keySizeBytes) were given; "
          + "give larger keys, fewer of them or a shorter prefix")
    }
  }

  func check(_ value: Int, _ what: String, _ accepted: ClosedRange<Int>) throws(WorkloadError) {
    guard accepted.contains(value) else {
      throw refusal(
        "\(value) \(what) were asked for; from \(accepted.lowerBound) to \(accepted.upperBound) are possible")
    }
  }

  func check(_ value: Duration, _ what: String) throws(WorkloadError) {
    guard value > .zero, value <= Limit.duration else {
      throw refusal("a \(what) of \(value) was asked for; it must be above 0 s and at most 30 days")
    }
  }

  func refusal(_ message: String) -> WorkloadError { WorkloadError(.badOptions, message) }
}

extension Duration {
  /// Only for durations that have been checked: not negative, at most a month.
  var wholeNanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
  }
}
