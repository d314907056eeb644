// Owns the figures of the measured part of a run.
//
// Invariants, once a run is over: every operation that was due was started, skipped, or still queued when the run
// ended; `started` = `succeeded` + `refused` + `failed` + `unanswered`; a latency histogram holds successes and nothing else,
// but for that of the refusals; `answeredWithin` counts the successes that arrived before the end, whenever they started.

package struct LoadFigures: Sendable, Equatable, Codable {
  package var durationNanoseconds: UInt64 = 0
  package var started: UInt64 = 0
  package var succeeded: UInt64 = 0
  /// Answered, as it should be, by a refusal: a comparison that no longer held, a stale token.
  package var refused: UInt64 = 0
  package var failed: UInt64 = 0
  /// Started and neither answered nor failed by the time the run gave up waiting.
  package var unanswered: UInt64 = 0
  /// Successes that arrived within the measured time: what the target got done. An open loop that outruns its target
  /// is answered in full in the end, so counting every answer would call any rate achieved.
  package var answeredWithin: UInt64 = 0
  /// Due in an open loop but never started, since too many were in flight already.
  package var skipped: UInt64 = 0
  /// Started more than ``LoadFigures/lateNanoseconds`` after they were due.
  package var late: UInt64 = 0
  /// The most operations that were in flight at the end of any slice.
  package var highestInFlight: Int = 0
  /// How many were in flight when the measured time was over.
  package var inFlightAtEnd: Int = 0
  /// From when the operation was due to its answer: what a user would have waited. Empty in a closed loop, where
  /// nothing is due.
  package var latencyFromIntendedStart = LatencyHistogram()
  /// From the call to its answer: what the target took, were it not for the queue before it.
  package var latencyFromSend = LatencyHistogram()
  /// From when the operation was due to the call: the generator's own lateness.
  package var scheduleLag = LatencyHistogram()
  /// From the call to the refusal.
  package var latencyOfRefusals = LatencyHistogram()
  /// What the target says that the operation took it. Empty where it says nothing.
  package var timeAtTarget = LatencyHistogram()
  package var errors: [ErrorTally] = []
  package var oracle = OracleFigures()
  /// Each operation of a mix by itself. Empty where there is one alone.
  package var parts: [PartFigures] = []
  /// What watchers were told. Nil where there were none.
  package var deliveries: DeliveryFigures?

  /// Started this much after it was due, an operation counts as late.
  package static let lateNanoseconds: UInt64 = 1_000_000

  /// - Parameter parts: the names of a mix's operations.
  package init(parts: [String] = []) {
    self.parts = parts.map(PartFigures.init)
  }

  /// The latencies by which the run is to be judged: from the intended start where there is one.
  package var userLatency: LatencyHistogram {
    latencyFromIntendedStart.isEmpty ? latencyFromSend : latencyFromIntendedStart
  }

  package var achievedPerSecond: Double {
    durationNanoseconds == 0 ? 0 : Double(answeredWithin) * 1e9 / Double(durationNanoseconds)
  }

  /// Adds the figures of another event loop or of a later slice. The duration and what is in flight are the owner's.
  package mutating func merge(_ other: LoadFigures) {
    started += other.started
    succeeded += other.succeeded
    refused += other.refused
    failed += other.failed
    unanswered += other.unanswered
    answeredWithin += other.answeredWithin
    skipped += other.skipped
    late += other.late
    latencyFromIntendedStart.merge(other.latencyFromIntendedStart)
    latencyFromSend.merge(other.latencyFromSend)
    scheduleLag.merge(other.scheduleLag)
    latencyOfRefusals.merge(other.latencyOfRefusals)
    timeAtTarget.merge(other.timeAtTarget)
    for tally in other.errors { count(tally) }
    oracle.merge(other.oracle)
    merge(other.parts)
    if let more = other.deliveries {
      var sum = deliveries ?? DeliveryFigures()
      sum.merge(more)
      deliveries = sum
    }
  }

  private mutating func merge(_ others: [PartFigures]) {
    for (index, other) in others.enumerated() {
      if index < parts.count { parts[index].merge(other) } else { parts.append(other) }
    }
  }

  /// Counts failures under their code. The first message of a code is kept: the others say the same as a rule.
  package mutating func count(_ tally: ErrorTally) {
    if let index = errors.firstIndex(where: { $0.code == tally.code }) {
      errors[index].count += tally.count
    } else {
      errors.append(tally)
      errors.sort { $0.code < $1.code }
    }
  }
}

/// One operation of a mix.
package struct PartFigures: Sendable, Equatable, Codable {
  package var name: String
  package var succeeded: UInt64 = 0
  package var refused: UInt64 = 0
  package var failed: UInt64 = 0
  /// From the intended start where there is one, else from the call.
  package var latency = LatencyHistogram()

  package init(name: String) { self.name = name }

  package mutating func merge(_ other: PartFigures) {
    succeeded += other.succeeded
    refused += other.refused
    failed += other.failed
    latency.merge(other.latency)
  }
}

/// What watchers were told of the puts of a run: one event for each watcher and put.
package struct DeliveryFigures: Sendable, Equatable, Codable {
  package var events: UInt64 = 0
  /// Events that came before the put's own answer: how much before is not counted, and never as nothing.
  package var beforeAcknowledgement: UInt64 = 0
  /// From when the put was due (in a closed loop: sent) to the event.
  package var fromIntendedStart = LatencyHistogram()
  /// From the put's answer to the event, for those that came after it.
  package var fromAcknowledgement = LatencyHistogram()

  package init() {}

  package mutating func merge(_ other: DeliveryFigures) {
    events += other.events
    beforeAcknowledgement += other.beforeAcknowledgement
    fromIntendedStart.merge(other.fromIntendedStart)
    fromAcknowledgement.merge(other.fromAcknowledgement)
  }
}

/// The failures of one code.
package struct ErrorTally: Sendable, Equatable, Codable {
  /// gRPC's number of the status.
  package var code: Int
  package var name: String
  package var count: UInt64
  package var firstMessage: String

  package init(code: Int, name: String, count: UInt64 = 1, firstMessage: String) {
    self.code = code
    self.name = name
    self.count = count
    self.firstMessage = firstMessage
  }
}

/// What the check of the answers found, those of the warm-up included. A fast wrong answer is worth nothing.
package struct OracleFigures: Sendable, Equatable, Codable {
  package var checked: UInt64 = 0
  package var violations: UInt64 = 0
  package var firstViolation: String?

  package init() {}

  package mutating func merge(_ other: OracleFigures) {
    checked += other.checked
    violations += other.violations
    firstViolation = firstViolation ?? other.firstViolation
  }
}

/// What the generator itself used, so that nobody measures it by mistake.
package struct GeneratorFigures: Sendable, Equatable, Codable {
  /// CPU of the whole process over the measured part.
  package var cpuNanoseconds: UInt64
  package var durationNanoseconds: UInt64
  package var operations: UInt64
  /// The share of the measured time that the busiest of its threads was on a CPU.
  package var busiestThreadShare: Double

  package init(cpuNanoseconds: UInt64, durationNanoseconds: UInt64, operations: UInt64, busiestThreadShare: Double) {
    self.cpuNanoseconds = cpuNanoseconds
    self.durationNanoseconds = durationNanoseconds
    self.operations = operations
    self.busiestThreadShare = busiestThreadShare
  }

  package var coresUsed: Double {
    durationNanoseconds == 0 ? 0 : Double(cpuNanoseconds) / Double(durationNanoseconds)
  }

  package var cpuNanosecondsPerOperation: Double {
    operations == 0 ? 0 : Double(cpuNanoseconds) / Double(operations)
  }
}
