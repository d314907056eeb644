// Owns the sizes of what contends for scopes on terms: how many, for how many scopes, and who protects them.
// Must never: be drawn from a stream that other sizes are drawn from, or worlds without it would differ.

import RaftCore

struct Contention {
  /// Scopes of contenders begin with this byte, those of single holders with another.
  static let scopePrefix: UInt8 = 0x74

  var contenders: Int
  var scopes: Int
  var ttlMilliseconds: UInt64
  /// Gateways at the beginning, which are registered and confirm raises.
  var gateways: Int
  var gatewayCrashPerMille: UInt64
  /// Of a wake of a gateway: its disk is lost for good.
  var gatewayLossPerMille: UInt64

  /// Nil for a world without contenders.
  init?(seed: UInt64, plantedBug: PlantedBug?) {
    var sizes = RandomStream(seed: seed, concern: .contention)
    let isDrawn = sizes.chance(perMille: 400)
    contenders = sizes.pick([2, 3, 4, 5])
    scopes = sizes.pick([1, 2, 2, 3])
    ttlMilliseconds = sizes.pick([800, 2000, 5000])
    gateways = sizes.pick([0, 1, 2])
    gatewayCrashPerMille = sizes.pick([0, 20, 50])
    gatewayLossPerMille = sizes.pick([0, 3])
    guard let plantedBug else {
      guard isDrawn else { return nil }
      return
    }
    guard plantedBug.isOfContention else { return nil }
    contenders = 5
    scopes = 2
    ttlMilliseconds = 800
    gateways = 2
    gatewayCrashPerMille = 50
  }
}
