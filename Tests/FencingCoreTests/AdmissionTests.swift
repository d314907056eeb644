// The admission rules, one test for each sentence of them.

import FencingCore
import Testing

private let binding = ScopeBinding(scope: "orders")

private func claims(
  _ number: Int64, _ holder: String = "a", incarnation: Int64 = 1, cluster: UInt64 = 7, scope: String = "orders"
) throws -> FenceClaims {
  FenceClaims(
    cluster: cluster, incarnation: try #require(Incarnation(incarnation)), scope: scope,
    number: try #require(GrantNumber(number)), holder: holder)
}

@Suite("Admission")
struct AdmissionTests {
  @Test("the first claims of all raise the floor to themselves and pin the cluster")
  func first() throws {
    let first = try claims(5)
    #expect(admit(first, against: nil, binding: binding) == .raise(to: first.floor))
    #expect(first.floor.cluster == 7)
  }

  @Test("an equal number passes for its own holder")
  func equalNumber() throws {
    #expect(admit(try claims(5), against: try claims(5).floor, binding: binding) == .accept)
  }

  @Test("an equal number is refused to any other holder")
  func otherHolder() throws {
    let (seen, presented) = (try claims(5, "a").floor, try claims(5, "b"))
    let verdict = admit(presented, against: seen, binding: binding)
    #expect(verdict == .refuse(.otherHolder(seen: seen, presented: presented)))
  }

  @Test("a lower number is stale and the refusal says what was seen and presented")
  func lower() throws {
    let (seen, presented) = (try claims(6, "b").floor, try claims(5, "a"))
    guard case .refuse(let refusal) = admit(presented, against: seen, binding: binding) else {
      Issue.record("a lower number passed")
      return
    }
    #expect(refusal == .stale(seen: seen, presented: presented))
    #expect(refusal.seen == seen)
    #expect(refusal.presented == presented)
  }

  @Test("a higher number raises, up to the last of signed 64 bits", arguments: [6, 1 << 40, Int64.max])
  func higher(number: Int64) throws {
    let presented = try claims(number, "b")
    #expect(admit(presented, against: try claims(5).floor, binding: binding) == .raise(to: presented.floor))
  }

  @Test("a higher incarnation raises, however low its number")
  func higherIncarnation() throws {
    let presented = try claims(1, "b", incarnation: 2)
    let floor = try claims(Int64.max).floor
    #expect(admit(presented, against: floor, binding: binding) == .raise(to: presented.floor))
  }

  @Test("a lower incarnation is refused, however high its number")
  func lowerIncarnation() throws {
    let (seen, presented) = (try claims(1, incarnation: 2).floor, try claims(Int64.max, "b", incarnation: 1))
    let verdict = admit(presented, against: seen, binding: binding)
    #expect(verdict == .refuse(.lowerIncarnation(seen: seen, presented: presented)))
  }

  @Test("another cluster is refused, however high its incarnation and number")
  func otherCluster() throws {
    let (seen, presented) = (try claims(1).floor, try claims(Int64.max, incarnation: 9, cluster: 8))
    let verdict = admit(presented, against: seen, binding: binding)
    #expect(verdict == .refuse(.otherCluster(seen: seen, presented: presented)))
  }

  @Test("an adopted cluster takes the pinned one's place, and the old one cannot come back")
  func adoption() throws {
    let adopting = ScopeBinding(scope: "orders", adoptedCluster: 8)
    let (old, new, third) = (try claims(9), try claims(1, "b", cluster: 8), try claims(99, cluster: 9))
    #expect(admit(new, against: old.floor, binding: adopting) == .raise(to: new.floor))
    let back = admit(old, against: new.floor, binding: adopting)
    #expect(back == .refuse(.otherCluster(seen: new.floor, presented: old)))
    let other = admit(third, against: old.floor, binding: adopting)
    #expect(other == .refuse(.otherCluster(seen: old.floor, presented: third)))
  }

  @Test("adoption never lowers a floor within the adopted cluster")
  func adoptionKeepsOrder() throws {
    let adopting = ScopeBinding(scope: "orders", adoptedCluster: 8)
    let (seen, presented) = (try claims(5, cluster: 8).floor, try claims(4, cluster: 8))
    let verdict = admit(presented, against: seen, binding: adopting)
    #expect(verdict == .refuse(.stale(seen: seen, presented: presented)))
  }

  @Test("another scope is refused before anything else is looked at", arguments: [true, false])
  func wrongScope(hasFloor: Bool) throws {
    let presented = try claims(9, scope: "invoices")
    let verdict = admit(presented, against: hasFloor ? try claims(5).floor : nil, binding: binding)
    #expect(verdict == .refuse(.wrongScope(bound: "orders", presented: presented)))
  }

  @Test("over every small case, a verdict never lowers a floor and two holders never pass with one number")
  func exhaustive() throws {
    var cases: [FenceClaims] = []
    for cluster in [7, 8] as [UInt64] {
      for incarnation in 0...2 as ClosedRange<Int64> {
        for number in 1...3 as ClosedRange<Int64> {
          for holder in ["a", "b"] {
            cases.append(try claims(number, holder, incarnation: incarnation, cluster: cluster))
          }
        }
      }
    }
    for seen in cases {
      for presented in cases {
        let isSameOrder = seen.cluster == presented.cluster && seen.authority == presented.authority
        switch admit(presented, against: seen.floor, binding: binding) {
        case .accept: #expect(presented == seen)
        case .raise(let floor):
          #expect(floor == presented.floor)
          #expect(presented.cluster == seen.cluster && presented.authority > seen.authority)
        case .refuse:
          #expect(
            presented.cluster != seen.cluster || presented.authority < seen.authority
              || (isSameOrder && presented.holder != seen.holder))
        }
      }
    }
  }
}
