// The same seed gives the same digest twice, on every machine, in debug and release.
//
// The digests change whenever the cores or the simulator change what they do. These are the new ones:
//   portcullis simulate --seed 1 --seeds 8 --digests

import Simulation
import Testing

@Suite("Digests of fixed seeds")
struct DigestTests {
  static let golden: [(seed: UInt64, digest: UInt64)] = []

  @Test("each seed gives the digest that it gave everywhere else")
  func fixed() {
    for (seed, digest) in Self.golden {
      var simulator = Simulator(seed: seed, options: SimulationOptions())
      let found = simulator.run().digest
      #expect(found == digest, "seed \(seed) gives \(String(found, radix: 16))")
    }
  }
}
