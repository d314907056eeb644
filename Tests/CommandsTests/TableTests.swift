// What lists look like, and that nothing that others named can do something to the terminal.

import Commands
import Testing

@Suite("lists for people")
struct TableTests {
  @Test("columns line up, empty cells are dashes, and no line ends in spaces")
  func lines() {
    var table = TextTable("SCOPE", "NUMBER", "HOLDER")
    table.add("orders", "4711", "anna")
    table.add("b", "", "")
    #expect(
      table.text == """
        SCOPE   NUMBER  HOLDER
        orders  4711    anna
        b       -       -
        """)
  }

  @Test("control characters are shown and not obeyed")
  func control() {
    var table = TextTable("HOLDER")
    table.add("an\u{1b}[31mna\n\u{7}")
    #expect(table.text == "HOLDER\nan\\u{1b}[31mna\\n\\u{7}")
    #expect(TextOrBytes.shown([0xff, 0x0a]) == "0xff0a")
    #expect(TextOrBytes.shown(Array("grün".utf8)) == "grün")
  }

  @Test(
    "lengths of time", arguments: [(0, "0.0s"), (6_349, "6.3s"), (100_000, "1m40s"), (7_260_000, "2h1m")])
  func length(milliseconds: Int, text: String) {
    #expect(TerminalText.length(.milliseconds(milliseconds)) == text)
  }
}
