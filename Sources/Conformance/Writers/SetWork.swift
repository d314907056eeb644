// The lock-set workload's loop, in the writer's own process, so that a pause hits it anywhere: acquire, read a set, think,
// write the set with one element more, let go.

import Foundation
import Synchronization

/// How a writer works on the set.
package struct SetWork: Codable, Sendable {
  /// What its elements begin with, so that no two writers add the same.
  package var writer: Int
  package var order: AcquireOrder
  package var database: String
  package var table: String
  /// Whether requests show what is held.
  package var showsProof: Bool
  /// The longest time between reading and writing.
  package var thinkMilliseconds: Int

  package init(
    writer: Int, order: AcquireOrder, database: String, table: String, showsProof: Bool, thinkMilliseconds: Int
  ) {
    self.writer = writer
    self.order = order
    (self.database, self.table) = (database, table)
    self.showsProof = showsProof
    self.thinkMilliseconds = thinkMilliseconds
  }

  /// The table, with the empty set in it; or the text that stands for it.
  package static func schema(_ table: String) -> [String] {
    ["CREATE TABLE \(table)(members TEXT)", "INSERT INTO \(table) VALUES ('')"]
  }
  package static let emptySet = TextRequest.write(key: key, value: "")

  private static let key = "lockset"

  static func reading(_ database: String, _ table: String) -> ResourceRequest {
    var request = ResourceRequest(database, "SELECT members FROM \(table)", kind: .query)
    request.text = .read(key: key)
    return request
  }

  func writing(_ members: String) -> ResourceRequest {
    var request = ResourceRequest(database, "UPDATE \(table) SET members = '\(members)'")
    request.text = .write(key: Self.key, value: members)
    return request
  }

  static func elements(_ text: String) -> Set<Int> { Set(text.split(separator: " ").compactMap { Int($0) }) }
}

/// What came of it.
package struct SetReport: Codable, Sendable {
  /// Elements whose write was acknowledged: they must be in the set for ever.
  package var acknowledged: [Int] = []
  /// Reads and writes that the fence refused.
  package var refused = 0
  /// Writes without an answer, and acquisitions that failed.
  package var unknown = 0
}

/// Works until it is told to stop.
final class SetWorker: Sendable {
  private let isStopped = Mutex(false)
  private let holds = Mutex(false)

  /// Whether a lock was granted and not let go of yet; that it is lost nobody tells.
  var isHolding: Bool { holds.withLock { $0 } }

  func stop() { isStopped.withLock { $0 = true } }

  func run(_ work: SetWork, _ locks: any LockService, _ resource: any Resource) async -> SetReport {
    var report = SetReport()
    var next = work.writer * 1_000_000
    while !isStopped.withLock({ $0 }) {
      next += 1
      do {
        let held = try await locks.acquire(work.order)
        holds.withLock { $0 = true }
        await add(next, work, held.map(\.proof).filter { !$0.isEmpty }, resource, &report)
      } catch {
        report.unknown += 1
      }
      holds.withLock { $0 = false }
      await locks.release()
    }
    return report
  }

  private func add(
    _ element: Int, _ work: SetWork, _ proofs: [String], _ resource: any Resource, _ report: inout SetReport
  ) async {
    let proofs = work.showsProof ? proofs : []
    let read = await resource.send(SetWork.reading(work.database, work.table), proofs: proofs)
    guard read.isAccepted, let members = read.value else { return count(read, &report) }
    // The work for which the lock is held: where a pause does its harm.
    try? await Task.sleep(for: .milliseconds(Int.random(in: work.thinkMilliseconds / 2...work.thinkMilliseconds)))
    let changed = members.isEmpty ? "\(element)" : "\(members) \(element)"
    let written = await resource.send(work.writing(changed), proofs: proofs)
    if written.isAccepted { report.acknowledged.append(element) } else { count(written, &report) }
  }

  private func count(_ answer: ResourceAnswer, _ report: inout SetReport) {
    if answer.isFenced { report.refused += 1 } else { report.unknown += 1 }
  }
}
