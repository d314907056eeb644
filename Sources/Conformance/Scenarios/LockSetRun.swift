// One run of the lock-set workload, whoever grants the locks: five writers read, modify and write a set, and now and then
// whoever holds the lock is stopped for longer than its lease.

import Foundation

struct LockSetRun {
  /// How long everything takes.
  struct Times: Sendable {
    var lease: Int
    let think: Int
    let every: Duration
    let whole: Duration
    /// By how much later than due the service may end a lease, and have it granted to the next. A pause is longer by this.
    var late = 0

    static let long = Times(lease: 2000, think: 200, every: .seconds(5), whole: .seconds(60))
    static let short = Times(lease: 500, think: 150, every: .milliseconds(600), whole: .milliseconds(1800))
    /// etcd knows whole seconds, and makes two of one.
    static let shortWithWholeSeconds = Times(
      lease: 2000, think: 150, every: .milliseconds(600), whole: .milliseconds(4000))
  }

  struct Outcome: Sendable {
    let acknowledged: Int
    let lost: Int
    let refused: Int
    let pauses: Int
    /// How long a lease was, in milliseconds.
    let lease: Int

    /// Of what was acknowledged, in percent.
    var share: Double { acknowledged == 0 ? 0 : Double(lost) / Double(acknowledged) * 100 }
  }

  let writers: [Writer]
  let times: Times
  let scope: String
  let database: String
  let table: String
  let showsProof: Bool
  let resource: any Resource
  /// The place among `writers` of the one that has the lock.
  let holder: @Sendable () async throws -> Int?

  func play() async throws -> Outcome {
    let (reports, pauses) = try await run()
    let members = SetWork.elements(try await resource.mustRead(SetWork.reading(database, table)) ?? "")
    let acknowledged = reports.flatMap(\.acknowledged)
    return Outcome(
      acknowledged: acknowledged.count, lost: acknowledged.count { !members.contains($0) },
      refused: reports.map(\.refused).reduce(0, +), pauses: pauses, lease: times.lease)
  }

  private func run() async throws -> (reports: [SetReport], pauses: Int) {
    try await withThrowingTaskGroup(of: SetReport.self) { group in
      for (place, writer) in writers.enumerated() {
        var order = AcquireOrder([scope])
        order.milliseconds = times.lease
        let work = SetWork(
          writer: place + 1, order: order, database: database, table: table, showsProof: showsProof,
          thinkMilliseconds: times.think)
        group.addTask { try await writer.work(work) }
      }
      let pauses = try await disturb()
      for writer in writers { try await writer.stopWork() }
      return (try await group.reduce(into: []) { $0.append($1) }, pauses)
    }
  }

  /// Pauses whoever holds the lock, for longer than its lease, now and then.
  private func disturb() async throws -> Int {
    let end = ContinuousClock.now + times.whole
    var pauses = 0
    // A pause may fall between two holds, where it does no harm, so there are several at the least.
    while ContinuousClock.now < end || pauses < 4 {
      let next = ContinuousClock.now + times.every
      if let place = try await holder(), writers.indices.contains(place) {
        try await writers[place].pause()
        pauses += 1
        // The length of a pause is the fault itself.
        try await Task.sleep(for: .milliseconds(times.lease + times.late + Int.random(in: 0...(times.lease / 2))))
        writers[place].resume()
      }
      try await Task.sleep(until: max(next, .now))
    }
    return pauses
  }
}
