// A holder: a process that acquires its scope again and again, inserts rows under its grant, and is now and then stopped
// for longer than its lease, after which it writes on as if nothing had happened.

import Conformance
import Foundation

struct ChaosHolder: Sendable {
  let number: Int
  let scope: Int
  let writer: Writer
  let ledger: ChaosLedger
  /// Whether it is stopped now and then.
  let isPaused: Bool
  /// The longest pause between two writes, in milliseconds.
  let pause: Int

  private var database: String { ChaosStage.database(scope) }

  /// Makes the table.
  func prepare() async throws {
    let held = try await acquire()
    try await writer.mustSend(
      ResourceRequest(
        database,
        "CREATE TABLE rows(place INTEGER PRIMARY KEY, id INTEGER NOT NULL, number INTEGER NOT NULL, holder INTEGER NOT NULL)"
      ))
    try await insert(held)
    try await writer.release()
  }

  /// Until the ledger is closed.
  func run(random: HistoryRandom) async {
    var random = random
    var holds = 0
    while !ledger.isStopped, !Task.isCancelled {
      do {
        let held = try await acquire()
        holds += 1
        try await hold(held, isPaused: isPaused && (holds == 1 || Int.random(in: 0..<6, using: &random) == 0), &random)
        try await writer.release()
      } catch {
        ledger.countFailedAcquisition()
        try? await writer.release()
        // Nothing tells a holder when there is a cluster again.
        try? await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  private func acquire() async throws -> Held {
    var order = AcquireOrder([database])
    order.milliseconds = ChaosSettings.leaseMilliseconds
    order.waitMilliseconds = 5000
    let invoked = HistoryClock.nanoseconds
    let held = try await writer.acquire(order)[0]
    ledger.grant(
      ChaosGrant(
        scope: scope, number: held.number, holder: number, invoked: invoked, returned: HistoryClock.nanoseconds,
        isConfirmed: held.isConfirmed))
    return held
  }

  private func hold(_ held: Held, isPaused: Bool, _ random: inout HistoryRandom) async throws {
    for _ in 0..<Int.random(in: 4...16, using: &random) where !ledger.isStopped {
      // What was refused once is refused for good.
      guard try await insert(held) != .refused else { return }
      try await Task.sleep(for: .milliseconds(Int.random(in: 0...pause, using: &random)))
    }
    guard isPaused, !ledger.isStopped else { return }
    try await writer.pause()
    // The length of the pause is the fault itself: longer than the lease.
    let lease = ChaosSettings.leaseMilliseconds
    try? await Task.sleep(for: .milliseconds(lease + Int.random(in: 300...lease, using: &random)))
    writer.resume()
    ledger.countPause()
    for _ in 0..<2 { try await insert(held) }
  }

  /// One row, under the same key until there is an answer, or until it is given up as unknown.
  @discardableResult
  private func insert(_ held: Held) async throws -> ChaosRow.Outcome {
    let ticket = ledger.begin(ChaosRow(scope: scope, number: held.number, holder: number))
    var request = ResourceRequest(
      database, "INSERT INTO rows(id, number, holder) VALUES (\(ticket.id), \(held.number), \(number))",
      key: "row-\(ticket.id)")
    request.timeoutMilliseconds = 3000
    var attempts = 0
    while true {
      attempts += 1
      let answer = try await writer.send(request)
      let outcome: ChaosRow.Outcome? =
        if answer.isAccepted {
          .acknowledged
        } else if answer.isFenced {
          // After an attempt without an answer the refusal says nothing about that one.
          attempts == 1 ? .refused : .unknown
        } else {
          attempts == 3 || ledger.isStopped ? .unknown : nil
        }
      if let outcome {
        ledger.end(ticket, outcome, isReplayed: answer.isReplayed)
        return outcome == .unknown && answer.isFenced ? .refused : outcome
      }
      try await Task.sleep(for: .milliseconds(300))
    }
  }
}
