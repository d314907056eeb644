// The same seed gives the same digest twice, on every machine, in debug and release.
//
// The digests change whenever the cores or the simulator change what they do. These are the new ones:
//   portcullis simulate --seed 1 --seeds 8 --digests

import Simulation
import Testing

@Suite("Digests of fixed seeds")
struct DigestTests {
  static let golden: [(seed: UInt64, digest: UInt64)] = [
    (1, 0xe9c3_3e80_d4ff_4f2c), (2, 0x0a81_0f33_3965_039f), (3, 0x182f_ab7b_ea2b_dea5), (4, 0x6e91_6ec3_0d31_622b),
    (5, 0x6cd4_2c66_9a77_5286), (6, 0xa82c_0c23_2c76_7318), (7, 0xad27_7def_1fa9_573a), (8, 0x9f6e_3ce1_59b0_2f0c),
  ]

  @Test("each seed gives the digest that it gave everywhere else")
  func fixed() {
    for (seed, digest) in Self.golden {
      var simulator = Simulator(seed: seed, options: SimulationOptions())
      let found = simulator.run().digest
      #expect(found == digest, "seed \(seed) gives \(String(found, radix: 16))")
    }
  }
}
