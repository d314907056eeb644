// The order of authority and the bounds of its values.

import FencingCore
import Testing

@Suite("Authority")
struct AuthorityTests {
  @Test("a number is above zero and takes the whole of signed 64 bits", arguments: [0, -1, Int64.min])
  func numberBounds(low: Int64) throws {
    #expect(GrantNumber(low) == nil)
    #expect(GrantNumber(1)?.rawValue == 1)
    #expect(GrantNumber(Int64.max)?.rawValue == Int64.max)
    #expect(try #require(GrantNumber(Int64.max)) > #require(GrantNumber(Int64.max - 1)))
  }

  @Test("an incarnation is not negative and not above signed 64 bits")
  func incarnationBounds() {
    #expect(Incarnation(Int64(-1)) == nil)
    #expect(Incarnation(UInt64(Int64.max) + 1) == nil)
    #expect(Incarnation(UInt64(Int64.max))?.rawValue == Int64.max)
    #expect(Incarnation(UInt64(0))?.rawValue == 0)
  }

  @Test("incarnation outranks number, number decides within one incarnation")
  func order() throws {
    func authority(_ incarnation: Int64, _ number: Int64) throws -> Authority {
      try Authority(incarnation: #require(Incarnation(incarnation)), number: #require(GrantNumber(number)))
    }
    #expect(try authority(1, Int64.max) < authority(2, 1))
    #expect(try authority(1, 1) < authority(1, 2))
    #expect(try !(authority(1, 2) < authority(1, 2)))
    #expect(try authority(1, 2) == authority(1, 2))
  }

  @Test("a cluster id has one spelling: 16 lower-case hexadecimal digits")
  func clusterText() {
    for cluster in [0, 1, 0xABC, UInt64.max] {
      #expect(ClusterText.parse(ClusterText.format(cluster)) == cluster)
      #expect(ClusterText.format(cluster).utf8.count == 16)
    }
    for text in ["", "1", "0x00000000000001", "00000000000000AB", "+000000000000001", "00000000000000000001"] {
      #expect(ClusterText.parse(text) == nil, "\(text)")
    }
  }
}
