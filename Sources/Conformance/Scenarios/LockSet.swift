// Scenario 31: the lock-set workload, as published for etcd 3.4.3: writers that read, modify and write a set under a lock, and
// are paused for longer than their lease.

import Client
import Foundation

struct LockSet: Scenario {
  let number = 31
  let title = "the lock-set workload: five writers, pauses beyond the lease, read-modify-write of a set"
  let expectation = "no update is lost"

  func play(on stage: Stage) async throws -> Tally {
    let times = stage.isShort ? LockSetRun.Times.short : .long
    let outcome = try await stage.playLockSet(times)
    var tally = Tally()
    tally.lostUpdates = outcome.lost
    // What was refused was stale, and what was lost was overwritten by a write that was.
    tally.staleAttempts = outcome.refused + outcome.lost
    tally.refusals = outcome.refused
    tally.note(
      "\(outcome.acknowledged) acknowledged additions, \(outcome.lost) lost (\(String(format: "%.1f", outcome.share)) %),"
        + " \(outcome.pauses) pauses, leases of \(outcome.lease) ms, \(times.whole)")
    return tally
  }
}

extension Stage {
  /// With locks of our own, in the play's database.
  func playLockSet(_ times: LockSetRun.Times) async throws -> LockSetRun.Outcome {
    let gateway = try await startGateway()
    let resource = resource(of: gateway)
    let writers = try (1...5).map { try startWriter("writer-\($0)", gateway: gateway.address) }
    let held = try await writers[0].acquire(scope, milliseconds: times.lease)
    var schema = request(text: SetWork.emptySet)
    schema.statements = SetWork.schema(table("lockset"))
    try await writers[0].mustSend(schema)
    try await writers[0].release()
    if case .adapter = outside {
      var times = times
      times.lease = held.leaseMilliseconds ?? times.lease
      // etcd looks for leases that are over twice in a second, and other services less often.
      times.late = max(times.lease / 2, 500)
      return try await playLockSet(times, writers, resource)
    }
    return try await withClient { client in
      let holders = writers.map(\.holder)
      let run = LockSetRun(
        writers: writers, times: times, scope: scope, database: name, table: table("lockset"),
        showsProof: guarding == .fenced, resource: resource
      ) {
        let holder = try await client.describe(scope).grant?.holder
        return holders.firstIndex { $0 == holder }
      }
      return try await run.play()
    }
  }

  /// Where nobody but the writers themselves can say who holds the lock.
  private func playLockSet(
    _ times: LockSetRun.Times, _ writers: [Writer], _ resource: any Resource
  ) async throws -> LockSetRun.Outcome {
    let run = LockSetRun(
      writers: writers, times: times, scope: name, database: name, table: "lockset", showsProof: guarding == .fenced,
      resource: resource
    ) {
      for (place, writer) in writers.enumerated() where try await writer.isHolding() { return place }
      return nil
    }
    return try await run.play()
  }

  /// With the locks of an etcd, in a database that is open: no fence knows them.
  func playLockSet(_ times: LockSetRun.Times, etcd endpoints: String) async throws -> LockSetRun.Outcome {
    let gateway = try await startGateway()
    let resource = GatewayResource(address: gateway.address)
    let writers = try (1...5).map { (number: Int) in
      try deployment.startWriter(
        "writer-\(number)", endpoints: endpoints, gateway: gateway.address, etcdLocksOfWriter: number)
    }
    var schema = request()
    schema.statements = SetWork.schema("lockset")
    try await writers[0].mustSend(schema)
    return try await withClient(of: endpoints) { client in
      let run = LockSetRun(
        writers: writers, times: times, scope: name, database: name, table: "lockset", showsProof: false,
        resource: resource
      ) {
        try await EtcdLocks.holder(of: name, client).map { $0 - 1 }
      }
      return try await run.play()
    }
  }
}
