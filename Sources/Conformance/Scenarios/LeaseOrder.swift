// Scenarios 23 and 25: what the order of the log decides, whether a lock is new and whether a renewal was in time.

import Client
import Foundation
import Protocol

struct LockMadeAgain: Scenario {
  let number = 23
  let title = "a lock is deleted and made again: released, revoked, expired, compacted away, over a restart of the core"
  let expectation = "its number rises each time, and every earlier token is refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    var stage = stage
    if stage.outside == nil {
      stage = stage.with(try await stage.deployment.startCore(name: "\(stage.name)-core"))
    } else {
      tally.note("without the rounds of compaction and restart, which need servers of the run's own")
    }
    let gateway = try await stage.startGateway()
    let writer = try stage.startWriter("A", gateway: gateway.address)
    let owner = stage.table("owner")
    let schema = ["CREATE TABLE IF NOT EXISTS \(owner)(id INTEGER PRIMARY KEY, who TEXT)"]
    var earlier: [Held] = []
    for round in 0..<8 {
      let held = try await writer.acquire(stage.scope, milliseconds: round % 4 == 2 ? 500 : 30_000)
      if let last = earlier.last {
        tally.expect(held.isNewer(than: last), "round \(round): \(held.number) is not above \(last.number)")
      }
      var write = stage.request(text: .write(key: "owner", value: "round \(round)"))
      write.statements = schema + ["INSERT OR REPLACE INTO \(owner) VALUES (1, 'round \(round)')"]
      try await writer.mustSend(write)
      for old in earlier {
        let value = "number \(old.number)"
        var late = stage.request("UPDATE \(owner) SET who = '\(value)'", text: .write(key: "owner", value: value))
        if stage.guarding == .fenced { late.otherProofs = [old.proof] }
        tally.countStale(try await writer.send(late))
      }
      let reading = stage.request("SELECT who FROM \(owner)", text: .read(key: "owner"), kind: .query)
      let now = try await stage.resource(of: gateway).mustRead(reading)
      if now != "round \(round)" { tally.lostUpdates += 1 }
      earlier.append(held)
      try await delete(held, writer, round, stage)
    }
    return tally
  }

  private func delete(_ held: Held, _ writer: Writer, _ round: Int, _ stage: Stage) async throws {
    switch round % 4 {
    case 0: try await writer.release()
    case 1: try await stage.end(held)
    case 2:
      try await writer.pause()
      try await stage.waitForEnd(of: held)
      writer.resume()
    default:
      try await writer.release()
      guard stage.outside == nil else { return }
      // Everything that there ever was of it, from memory and from the log.
      try await compact(stage)
      await stage.core.nodes[0].stop()
      try await stage.core.nodes[0].start()
      try await stage.waitUntilRegistered([stage.database()])
    }
  }

  private func compact(_ stage: Stage) async throws {
    try await stage.withClient { client in
      var request = Etcdserverpb_CompactionRequest()
      request.revision = try await client.put("conformance/\(stage.mark)/compacted", "")
      let message = request
      _ = try await client.call(
        RPCPath.KV.compact, message, as: Etcdserverpb_CompactionResponse.self, isRepeatable: false)
    }
  }
}

struct RenewalAtTheEnd: Scenario {
  let number = 25
  let title = "a renewal is sent at the very end of a lease, while B stands in line"
  let expectation = "it is in time and A's grant stays, or it is late and B has it; never both, and A is refused then"

  /// Scopes on which it is tried at the same time, each with its own moment.
  private static let places = 8

  private struct Race {
    var isRenewed: Bool
    var tally: Tally
  }

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let databases = (0..<Self.places).map { stage.database("-\($0)") }
    let gateway = try await stage.startGateway(databases)
    let resource = GatewayResource(address: gateway.address)
    var (renewed, late) = (0, 0)
    // Both must have been seen, or nothing was shown.
    while renewed < 3 || late < 3 {
      let races = try await withThrowingTaskGroup(of: Race.self) { group in
        for place in 0..<Self.places {
          group.addTask {
            try await stage.withClient { client in
              try await race(
                CoreCalls(client: client), on: databases[place].name, late: .milliseconds(24 * place), stage, resource)
            }
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      renewed += races.count { $0.isRenewed }
      late += races.count { !$0.isRenewed }
      for race in races { tally.add(race.tally) }
    }
    tally.note("\(renewed) renewals were in time and \(late) were not")
    return tally
  }

  private func race(
    _ calls: CoreCalls, on scope: String, late: Duration, _ stage: Stage, _ resource: GatewayResource
  ) async throws -> Race {
    func write(_ who: String, _ token: String) async -> ResourceAnswer {
      let request = stage.request(
        "CREATE TABLE IF NOT EXISTS log(who TEXT)", "INSERT INTO log VALUES ('\(who)')", on: scope)
      return await resource.send(request, proofs: stage.guarding == .fenced ? [token] : [])
    }
    var tally = Tally()
    let end = ContinuousClock.now + .milliseconds(980) + late
    let a = try await calls.openSession("A", milliseconds: 1000)
    let held = try await calls.mustAcquire(scope, a)
    tally.expect(await write("A", held.token).isAccepted, "A's write while it held \(scope) was not taken")
    let b = try await calls.openSession("B", milliseconds: 30_000)
    async let next = calls.mustAcquire(scope, b, waitMilliseconds: 60_000)
    while try await calls.client.describe(scope).waiting.isEmpty,
      try await calls.client.describe(scope).grant?.holder == "A"
    {
      try Task.checkCancellation()
    }
    // The moment at the end of the lease is what this is about.
    try await Task.sleep(until: end)
    let isRenewed = try await calls.renew(a)
    let now = try await calls.client.describe(scope).grant
    if isRenewed {
      tally.expect(now?.number == held.number, "\(scope): A's renewal was in time, and \(now?.number ?? 0) holds")
      try await calls.closeSession(a)
    } else {
      tally.expect(now?.holder == "B", "\(scope): A's renewal was late, and \(now?.holder ?? "nobody") holds")
      tally.expect(try await !calls.renew(a), "\(scope): what had ended was renewed later")
    }
    let new = try await next
    tally.expect(new.number > held.number, "\(scope): B's number \(new.number) is not above A's, \(held.number)")
    tally.expect(await write("B", new.token).isAccepted, "B's write while it held \(scope) was not taken")
    tally.countStale(await write("A, too late", held.token))
    try await calls.closeSession(b)
    return Race(isRenewed: isRenewed, tally: tally)
  }
}

extension Tally {
  /// Counts what was counted elsewhere too.
  mutating func add(_ other: Tally) {
    staleAttempts += other.staleAttempts
    refusals += other.refusals
    landed += other.landed
    lostUpdates += other.lostUpdates
    failures += other.failures
    notes += other.notes
    isMissed = isMissed || other.isMissed
  }
}
