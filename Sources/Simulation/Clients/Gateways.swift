// Owns the gateways: each decides by the admission rules, unchanged, in the transaction that writes, and answers when that
// transaction is durable.
// Must never: decide by a floor of another transaction than the one that writes.
// Invariants: floor and writes of one transaction become durable together or not at all; transactions become durable in
// their order.

import CoordinationCore
import FencingCore
import RaftCore

struct GatewayRequest {
  enum Kind: UInt8 {
    case raise
    case write
  }

  var kind: Kind
  var session: Int
  var generation: Int
  var scope: Int
  var claims: FenceClaims
  /// Sent by a holder that stood still and did not look at its deadline again.
  var isLate = false
  /// A planted bug may decide when it comes in.
  var earlyVerdict: Verdict?
}

struct SimulatedGateway {
  struct Reply {
    var request: GatewayRequest
    var refusal: FencingCore.Refusal?
  }

  var isUp = true
  var life: UInt64 = 0
  /// By scope.
  var durable: [Floor?]
  var written: [Floor?]
  var waiting: [GatewayRequest] = []
  var replies: [Reply] = []
  var isFlushing = false
  /// It will crash in the middle of its next transaction.
  var isDoomed = false
}

extension Simulator {
  static let cluster: UInt64 = 0xC0FFEE

  /// What the node that answers signs: the incarnation under which the number was taken, and the number in it.
  func claims(of record: GrantRecord) -> FenceClaims? {
    var incarnation = 0
    var base: Revision = 0
    for restored in incarnations where restored < record.number {
      incarnation += 1
      base = restored
    }
    guard let number = GrantNumber(record.number - base), let known = Incarnation(Int64(incarnation)) else {
      return nil
    }
    return FenceClaims(
      cluster: Self.cluster, incarnation: known, scope: "s\(AuthorityModel.position(of: record.scope))",
      number: number, holder: record.holder)
  }

  // MARK: Holders

  mutating func raise(_ position: Int) {
    for gateway in gateways.indices { send(.raise, of: position, to: gateway) }
  }

  mutating func writeThrough(_ position: Int) {
    send(.write, of: position, to: gatewayChance.next(below: gateways.count))
  }

  /// A holder that stood still goes on where it was: with a write that it had decided on before.
  mutating func writeLate(_ position: Int) {
    guard sessions[position].pausedUntil > 0 else { return }
    sessions[position].pausedUntil = 0
    guard sessions[position].phase == .holding, sessions[position].isServing else { return }
    reach(.lateWriteOfPausedHolder)
    for gateway in gateways.indices { send(.write, of: position, to: gateway, isLate: true) }
  }

  private mutating func send(_ kind: GatewayRequest.Kind, of position: Int, to gateway: Int, isLate: Bool = false) {
    guard let claims = sessions[position].claims else { return }
    var request = GatewayRequest(
      kind: kind, session: position, generation: sessions[position].generation, scope: sessions[position].scope,
      claims: claims)
    request.isLate = isLate
    let delay = gatewayChance.next(in: 1..<(2 * world.network.delayMicroseconds))
    let late = gatewayChance.chance(perMille: 30) ? gatewayChance.next(in: 1..<(2 * ttlMicroseconds)) : 0
    queue.push(.gatewayRequest(gateway, request), afterMicroseconds: delay + late)
  }

  // MARK: A gateway's writer

  mutating func arrived(_ request: GatewayRequest, at gateway: Int) throws(Broken) {
    guard gateways[gateway].isUp else { return }
    var request = request
    if options.plantedBug == .fenceCheckedEarly {
      request.earlyVerdict = verdict(on: request, gateways[gateway].durable[request.scope])
    }
    gateways[gateway].waiting.append(request)
    try writeNext(gateway)
  }

  private mutating func writeNext(_ gateway: Int) throws(Broken) {
    guard !gateways[gateway].isFlushing, !gateways[gateway].waiting.isEmpty else { return }
    let batch = gateways[gateway].waiting
    gateways[gateway].waiting = []
    gateways[gateway].isFlushing = true
    // A raise goes to the head of the queue.
    for request in batch where request.kind == .raise { carryOut(request, at: gateway) }
    for request in batch where request.kind == .write { carryOut(request, at: gateway) }
    let duration = gatewayChance.next(in: world.disk.flushMicroseconds..<(3 * world.disk.flushMicroseconds))
    queue.push(.gatewayFlushed(gateway, life: gateways[gateway].life), afterMicroseconds: duration)
    if gateways[gateway].isDoomed {
      queue.push(.gatewayCrashes(gateway, life: gateways[gateway].life), afterMicroseconds: duration / 2)
    }
  }

  private mutating func carryOut(_ request: GatewayRequest, at gateway: Int) {
    let verdict = request.earlyVerdict ?? verdict(on: request, gateways[gateway].written[request.scope])
    var refusal: FencingCore.Refusal?
    switch verdict {
    case .accept: break
    case .raise(let floor):
      gateways[gateway].written[request.scope] = floor
      reach(.floorRaised)
    case .refuse(let reason): refusal = reason
    }
    gateways[gateway].replies.append(SimulatedGateway.Reply(request: request, refusal: refusal))
  }

  private func verdict(on request: GatewayRequest, _ floor: Floor?) -> Verdict {
    let binding = ScopeBinding(scope: "s\(request.scope)")
    let decided = admit(request.claims, against: floor, binding: binding)
    return distorted(decided, request, floor)
  }

  mutating func gatewayFlushed(_ gateway: Int) throws(Broken) {
    let replies = gateways[gateway].replies
    gateways[gateway].isFlushing = false
    gateways[gateway].replies = []
    if options.plantedBug != .floorNotDurable || gatewayChance.chance(perMille: 500) {
      gateways[gateway].durable = gateways[gateway].written
    }
    try judge(replies, of: gateway)
    for reply in replies { answered(reply) }
    try writeNext(gateway)
  }

  private mutating func judge(_ replies: [SimulatedGateway.Reply], of gateway: Int) throws(Broken) {
    for reply in replies {
      mix(UInt64(bitPattern: reply.request.claims.number.rawValue) << 1 | (reply.refusal == nil ? 1 : 0))
      if let refusal = reply.refusal {
        try checker.fence.refused(reply.request.claims, scope: reply.request.scope, by: gateway)
        if case .stale = refusal { reach(.staleWriteRefused) }
        if case .lowerIncarnation = refusal { reach(.lowerIncarnationRefused) }
        gatewayRefused += 1
      } else {
        try checker.fence.committed(reply.request.claims, scope: reply.request.scope, by: gateway)
        gatewayAccepted += 1
      }
    }
  }

  private mutating func answered(_ reply: SimulatedGateway.Reply) {
    let position = reply.request.session
    guard sessions[position].generation == reply.request.generation, sessions[position].phase == .holding,
      sessions[position].claims == reply.request.claims
    else { return }
    if reply.refusal != nil {
      sessions[position].phase = .idle
    } else if reply.request.kind == .raise, sessions[position].raisesLeft > 0 {
      sessions[position].raisesLeft -= 1
    }
  }

  // MARK: Crashes

  mutating func crashGateway(_ gateway: Int) throws(Broken) {
    guard gateways[gateway].isUp else { return }
    // The transaction that was being flushed is whole or not there; nobody was told.
    if gateways[gateway].isFlushing {
      if gatewayChance.chance(perMille: 500) {
        reach(.gatewayKeptUnanswered)
        gateways[gateway].durable = gateways[gateway].written
        try judge(gateways[gateway].replies, of: gateway)
      } else {
        reach(.gatewayLostUncommitted)
      }
    }
    gateways[gateway].isUp = false
    gateways[gateway].isDoomed = false
    gateways[gateway].life += 1
    gateways[gateway].isFlushing = false
    gateways[gateway].waiting = []
    gateways[gateway].replies = []
    queue.push(.gatewayStarts(gateway), afterMicroseconds: gatewayChance.next(in: 1000..<1_000_000))
  }

  mutating func startGateway(_ gateway: Int) throws(Broken) {
    gateways[gateway].isUp = true
    gateways[gateway].written = gateways[gateway].durable
    for scope in 0..<world.sessions.scopes {
      try checker.fence.recovered(gateways[gateway].durable[scope], scope: scope, of: gateway)
    }
  }
}
