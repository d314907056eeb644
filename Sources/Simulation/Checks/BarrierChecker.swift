// Owns the rule of the barrier: once a holder was told, no gateway that protects its scope lets in what is older.
// Must never: ask the state which gateways there are. It follows the entries that register and retire them.
// Invariant: `told` is, for each gateway and scope, the highest number of which a holder was told behind the barrier.

import CoordinationCore
import RaftCore

struct BarrierChecker {
  private struct Registration {
    var gateway: Int
    var since: RaftCore.Index
    var until: RaftCore.Index?
    /// Raises that it has not confirmed, by scope.
    var unconfirmed: [Revision?]

    func isInForce(at index: RaftCore.Index) -> Bool { since <= index && (until.map { index < $0 } ?? true) }
  }

  private let scopes: Int
  private var registrations: [Registration] = []
  private var told: [[Revision]] = []

  init(scopes: Int) { self.scopes = scopes }

  // MARK: Entries

  /// An entry about a gateway, and what came of it.
  mutating func changed(
    _ change: GatewayChange, _ judged: AuthorityModel.Case, numbers: [Revision]
  ) throws(Broken) {
    guard case .gatewayChanged(let isChanged) = judged.result.outcome else { return }
    let index = judged.entry.index
    var isExpected = false
    switch change {
    case .register(let name, _):
      isExpected = true
      guard current(name) == nil else { break }
      registrations.append(
        Registration(
          gateway: ProtectingGateway.position(of: name), since: index,
          unconfirmed: numbers.map { $0 > 0 ? $0 : nil }))
    case .confirm(let name, let scope, let number):
      guard let position = current(name),
        registrations[position].unconfirmed[Simulator.contended(scope)] == number
      else { break }
      isExpected = true
      registrations[position].unconfirmed[Simulator.contended(scope)] = nil
    case .retire(let retired):
      guard let position = current(retired.name) else { break }
      isExpected = true
      registrations[position].until = index
    }
    guard isChanged == isExpected else {
      throw Broken(
        "only the raise that is waited for is confirmed",
        "\(index) \(isChanged ? "changes" : "leaves") what a gateway has confirmed: \(change)")
    }
  }

  private func current(_ name: GatewayName) -> Int? {
    let gateway = ProtectingGateway.position(of: name)
    return registrations.firstIndex { $0.gateway == gateway && $0.until == nil }
  }

  /// A scope has a new number.
  mutating func raised(_ scope: Int, to number: Revision) {
    for position in registrations.indices where registrations[position].until == nil {
      registrations[position].unconfirmed[scope] = number
    }
  }

  // MARK: Holders and gateways

  /// A holder that requires the barrier is told of its grant by a node that has applied so much. Every gateway that was
  /// registered by then has the number on its disk, or is gone for good.
  mutating func told(
    _ number: Revision, scope: Int, at applied: RaftCore.Index, gateways: [ProtectingGateway]
  ) throws(Broken) {
    for registration in registrations where registration.isInForce(at: applied) {
      let gateway = registration.gateway
      guard gateways[gateway].durable[scope] >= number else {
        throw Broken(
          "a holder is told when every gateway has made the raise durable",
          "one holds scope \(scope) under \(number), gateway \(gateway + 1) is at \(gateways[gateway].durable[scope])")
      }
      while told.count <= gateway { told.append(Array(repeating: 0, count: scopes)) }
      told[gateway][scope] = max(told[gateway][scope], number)
    }
  }

  func admitted(_ number: Revision, scope: Int, by gateway: Int) throws(Broken) {
    guard gateway < told.count, number < told[gateway][scope] else { return }
    throw Broken(
      "once a holder is told, no gateway lets in what is older",
      "gateway \(gateway + 1) let in \(number) of scope \(scope), a holder was told of \(told[gateway][scope])")
  }
}
