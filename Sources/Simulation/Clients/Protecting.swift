// Owns the gateways that are registered: each protects scopes of contenders, hears of new numbers from some node, makes the
// raise durable and says so, and lets in what comes under its floor's number or a higher one.
// Must never: confirm a raise before its transaction is durable.
// Invariants: transactions become durable in their order; a gateway whose disk is lost is retired and its name is never
// used again.

import CoordinationCore
import RaftCore

struct ProtectingGateway {
  struct Request {
    enum Kind { case raise, write }

    var kind: Kind
    var scope: Int
    var number: Revision
  }

  let name: GatewayName
  var isUp = true
  /// Its disk is lost for good.
  var isGone = false
  var life: UInt64 = 0
  /// The floor of each scope.
  var durable: [Revision]
  var written: [Revision]
  var waiting: [Request] = []
  /// What is let in by the transaction that is being flushed.
  var admitted: [Request] = []
  var isFlushing = false

  init(position: Int, scopes: Int) {
    name = Key([0x67, 0x77, 0x30 + UInt8(position)])
    durable = Array(repeating: 0, count: scopes)
    written = durable
  }

  static func position(of name: GatewayName) -> Int { Int(name.bytes.last ?? 0) - 0x30 }
}

extension Simulator {
  private static let maxProtectors = 8

  /// Looks at a node this often.
  private mutating func protectorGap() -> UInt64 { protectorChance.next(in: 10_000..<100_000) }

  mutating func beginProtection() {
    guard let contention = world.contention else { return }
    for _ in 0..<contention.gateways { addProtector() }
  }

  private mutating func addProtector() {
    guard protectors.count < Self.maxProtectors else { return }
    let position = protectors.count
    protectors.append(ProtectingGateway(position: position, scopes: contention.scopes))
    queue.push(.protector(position), afterMicroseconds: protectorGap())
  }

  mutating func protect(_ position: Int) throws(Broken) {
    guard phase == .faults || phase == .majority else { return }
    queue.push(.protector(position), afterMicroseconds: protectorGap())
    let node = nodes[protectorChance.next(below: nodes.count)]
    guard !protectors[position].isGone else { return report(position, at: node) }
    guard protectors[position].isUp else { return }
    if phase == .faults, try misfortune(of: position) { return }
    guard node.isUp, node.frozenUntil <= now else { return }
    guard let record = node.state.gateways[protectors[position].name] else {
      let scopes = (0..<contention.scopes).map(Self.contendedScope)
      return say(.register(protectors[position].name, scopes: scopes), at: node)
    }
    // What the node says may be old: then the number is not the one that is waited for any more.
    for (key, number) in record.raises {
      let scope = Self.contended(key)
      if protectors[position].durable[scope] >= number {
        say(.confirm(record.name, scope: key, number: number), at: node)
      } else {
        enqueue(ProtectingGateway.Request(kind: .raise, scope: scope, number: number), at: position)
        if options.plantedBug == .confirmedBeforeDurable {
          say(.confirm(record.name, scope: key, number: number), at: node)
        }
      }
    }
  }

  static func contended(_ scope: Key) -> Int { Int(scope.bytes.last ?? 0) - 0x30 }

  private mutating func say(_ change: GatewayChange, at node: SimulatedNode) {
    give(node, .propose([propose(.protect, .gateway(change), at: node)]))
  }

  /// Somebody who knows that it is gone for good says so, until the node that is asked has heard of it.
  private mutating func report(_ position: Int, at node: SimulatedNode) {
    let name = protectors[position].name
    guard node.isUp, node.state.gateways[name] != nil else { return }
    say(.retire(RetiredGateway(name: name, by: "operator", reason: "its disk is lost")), at: node)
  }

  // MARK: The writer

  /// A holder writes under its number, to whichever gateway.
  mutating func writeThroughProtector(_ grant: GrantRecord) {
    guard !protectors.isEmpty else { return }
    let position = protectorChance.next(below: protectors.count)
    let request = ProtectingGateway.Request(
      kind: .write, scope: Self.contended(grant.scope), number: grant.number)
    let late = protectorChance.chance(perMille: 200) ? contention.ttlMilliseconds * 2000 : 2000
    queue.push(.protectorRequest(position, request), afterMicroseconds: protectorChance.next(in: 1..<late))
  }

  mutating func enqueue(_ request: ProtectingGateway.Request, at position: Int) {
    guard protectors[position].isUp else { return }
    protectors[position].waiting.append(request)
    writeNext(position)
  }

  private mutating func writeNext(_ position: Int) {
    guard !protectors[position].isFlushing, !protectors[position].waiting.isEmpty else { return }
    let batch = protectors[position].waiting
    protectors[position].waiting = []
    protectors[position].isFlushing = true
    for request in batch {
      let floor = protectors[position].written[request.scope]
      let isLetIn = request.number >= floor || (options.plantedBug == .olderLetIn && request.kind == .write)
      guard isLetIn else {
        if request.kind == .write { reach(.olderRefusedByGateway) }
        continue
      }
      protectors[position].written[request.scope] = max(floor, request.number)
      if request.kind == .write { protectors[position].admitted.append(request) }
    }
    let duration = protectorChance.next(in: world.disk.flushMicroseconds..<(3 * world.disk.flushMicroseconds))
    queue.push(.protectorFlushed(position, life: protectors[position].life), afterMicroseconds: duration)
  }

  mutating func protectorFlushed(_ position: Int) throws(Broken) {
    try becomeDurable(position)
    protectors[position].isFlushing = false
    writeNext(position)
  }

  private mutating func becomeDurable(_ position: Int) throws(Broken) {
    protectors[position].durable = protectors[position].written
    let admitted = protectors[position].admitted
    protectors[position].admitted = []
    for request in admitted {
      mix(UInt64(bitPattern: request.number) << 3 | UInt64(position))
      try checker.state.barrier.admitted(request.number, scope: request.scope, by: position)
    }
  }

  // MARK: Misfortune

  /// Whether it is down.
  private mutating func misfortune(of position: Int) throws(Broken) -> Bool {
    if protectorChance.chance(perMille: contention.gatewayLossPerMille), protectors.count < Self.maxProtectors {
      protectors[position].isGone = true
      fall(position)
      reach(.protectorLost)
      addProtector()
      return true
    }
    guard protectorChance.chance(perMille: contention.gatewayCrashPerMille) else { return false }
    reach(.protectorCrashed)
    // The transaction that was being flushed is whole or not there.
    if protectors[position].isFlushing, protectorChance.chance(perMille: 500) { try becomeDurable(position) }
    fall(position)
    queue.push(.protectorStarts(position), afterMicroseconds: protectorChance.next(in: 1000..<1_000_000))
    return true
  }

  private mutating func fall(_ position: Int) {
    protectors[position].isUp = false
    protectors[position].life += 1
    protectors[position].waiting = []
    protectors[position].admitted = []
    protectors[position].isFlushing = false
  }

  mutating func startProtector(_ position: Int) {
    protectors[position].isUp = true
    if options.plantedBug == .floorForgotten {
      protectors[position].durable = protectors[position].durable.map { _ in 0 }
    }
    protectors[position].written = protectors[position].durable
  }
}
