// Scenario 31: the lock-set workload, as published for etcd 3.4.3: writers that read, modify and write a set under a lock, and
// are paused for longer than their lease.

import Client
import Foundation

struct LockSet: Scenario {
  let number = 31
  let title = "the lock-set workload: five writers, pauses beyond the lease, read-modify-write of a set"
  let expectation = "no update is lost"

  /// How long everything takes.
  private struct Times {
    let lease: Int
    let think: Int
    let every: Duration
    let whole: Duration

    static let long = Times(lease: 2000, think: 200, every: .seconds(5), whole: .seconds(60))
    static let short = Times(lease: 500, think: 150, every: .milliseconds(600), whole: .milliseconds(1800))
  }

  func play(on stage: Stage) async throws -> Tally {
    let times = stage.isShort ? Times.short : .long
    let gateway = try await stage.startGateway()
    let resource = GatewayResource(address: gateway.address)
    let writers = try (1...5).map { try stage.startWriter("writer-\($0)", gateway: gateway.address) }
    try await writers[0].acquire(stage.name)
    var schema = stage.request()
    schema.statements = SetWork.schema
    try await writers[0].mustSend(schema)
    try await writers[0].release()
    let (reports, pauses) = try await run(writers, times, stage)
    let members = SetWork.elements(try await resource.read(SetWork.reading, on: stage.name).value ?? "")
    return judge(reports, members, pauses, times)
  }

  private func run(
    _ writers: [Writer], _ times: Times, _ stage: Stage
  ) async throws -> (reports: [SetReport], pauses: Int) {
    try await withThrowingTaskGroup(of: SetReport.self) { group in
      for (place, writer) in writers.enumerated() {
        var order = AcquireOrder([stage.name])
        order.milliseconds = times.lease
        let work = SetWork(
          writer: place + 1, order: order, database: stage.name, showsProof: stage.guarding == .fenced,
          thinkMilliseconds: times.think)
        group.addTask { try await writer.work(work) }
      }
      let pauses = try await disturb(writers, times, stage)
      for writer in writers { try await writer.stopWork() }
      return (try await group.reduce(into: []) { $0.append($1) }, pauses)
    }
  }

  /// Pauses whoever holds the lock, for longer than its lease, now and then.
  private func disturb(_ writers: [Writer], _ times: Times, _ stage: Stage) async throws -> Int {
    let end = ContinuousClock.now + times.whole
    var pauses = 0
    try await stage.withClient { client in
      // A pause may fall between two holds, where it does no harm, so there are several at the least.
      while ContinuousClock.now < end || pauses < 3 {
        let next = ContinuousClock.now + times.every
        let holder = try await client.describe(stage.name).grant?.holder
        if let victim = writers.first(where: { $0.holder == holder }) {
          try await victim.pause()
          pauses += 1
          // The length of a pause is the fault itself.
          try await Task.sleep(for: .milliseconds(times.lease + Int.random(in: 0...(times.lease / 2))))
          victim.resume()
        }
        try await Task.sleep(until: max(next, .now))
      }
    }
    return pauses
  }

  private func judge(_ reports: [SetReport], _ members: Set<Int>, _ pauses: Int, _ times: Times) -> Tally {
    var tally = Tally()
    let acknowledged = reports.flatMap(\.acknowledged)
    let lost = acknowledged.count { !members.contains($0) }
    let refused = reports.map(\.refused).reduce(0, +)
    tally.lostUpdates = lost
    // What was refused was stale, and what was lost was overwritten by a write that was.
    tally.staleAttempts = refused + lost
    tally.refusals = refused
    let share = acknowledged.isEmpty ? 0 : Double(lost) / Double(acknowledged.count) * 100
    tally.note(
      "\(acknowledged.count) acknowledged additions, \(lost) lost (\(String(format: "%.1f", share)) %), \(pauses) pauses,"
        + " leases of \(times.lease) ms, \(times.whole)")
    return tally
  }
}
