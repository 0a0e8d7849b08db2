// A DMA block with the host interface of an accelerator, for tests of the simulation harness.
//
// Copies beats of DRAM, or only reads or writes them, and keeps the cycles of its transfers. @NAME@, @BITS@ and @HASH@ are
// filled in by tests/sim/toy.py. Registers are plain storage, except the read-only ones below.
module @NAME@ (
    input clk, input rst, output irq,
    output reg [39:0] m_axi_araddr, output reg [7:0] m_axi_arlen, output [2:0] m_axi_arsize, output [1:0] m_axi_arburst,
    output [3:0] m_axi_arcache, output [2:0] m_axi_arprot, output reg m_axi_arvalid, input m_axi_arready,
    input [@BITS@-1:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast, input m_axi_rvalid, output m_axi_rready,
    output reg [39:0] m_axi_awaddr, output reg [7:0] m_axi_awlen, output [2:0] m_axi_awsize, output [1:0] m_axi_awburst,
    output [3:0] m_axi_awcache, output [2:0] m_axi_awprot, output reg m_axi_awvalid, input m_axi_awready,
    output [@BITS@-1:0] m_axi_wdata, output [@BITS@/8-1:0] m_axi_wstrb, output m_axi_wlast, output m_axi_wvalid,
    input m_axi_wready, input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready,
    input [8:0] s_axil_awaddr, input [2:0] s_axil_awprot, input s_axil_awvalid, output s_axil_awready,
    input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb, input s_axil_wvalid, output s_axil_wready,
    output [1:0] s_axil_bresp, output reg s_axil_bvalid, input s_axil_bready,
    input [8:0] s_axil_araddr, input [2:0] s_axil_arprot, input s_axil_arvalid, output s_axil_arready,
    output reg [31:0] s_axil_rdata, output [1:0] s_axil_rresp, output reg s_axil_rvalid, input s_axil_rready
);
  localparam BYTES = @BITS@ / 8;
  localparam SIZE = $clog2(BYTES);
  localparam DEPTH = 4096;

  // Parameters, at the positions of the host registers borrowed for them.
  reg [31:0] register[0:127];
  wire [31:0] source = register[@BASE_CONSTANT_LOW@], target = register[@BASE_OUTPUT_LOW@];
  wire [31:0] beats = register[@PROGRAM_WORDS@], flags = register[@BASE_ACTIVATION_HIGH@];
  wire [8:0] burst = register[@BASE_ACTIVATION_LOW@][8:0];
  wire reads = flags[0], writes = flags[1], early_aw = flags[2], never = flags[3];
  wire bad_drop = flags[8], bad_address = flags[9], bad_last = flags[10], bad_size = flags[11], bad_data = flags[12];

  // Register access.
  wire write_now = s_axil_awvalid & s_axil_wvalid & ~s_axil_bvalid;
  wire start = write_now & (s_axil_awaddr == @CONTROL@ * 4) & s_axil_wdata[0];
  wire soft_reset = write_now & (s_axil_awaddr == @CONTROL@ * 4) & s_axil_wdata[1];
  wire clear = write_now & (s_axil_awaddr == @IRQ_CLEAR@ * 4);
  assign {s_axil_awready, s_axil_wready, s_axil_arready} = {write_now, write_now, ~s_axil_rvalid};
  assign {s_axil_bresp, s_axil_rresp} = 0;
  reg busy, done;
  reg [1:0] error;
  reg [31:0] now, first_ar, first_r, last_r, first_aw, first_w, last_w, last_b, scratch;
  always @(posedge clk) begin
    if (write_now) register[s_axil_awaddr[8:2]] <= s_axil_wdata;
    if (s_axil_arvalid & s_axil_arready) begin
      case (s_axil_araddr[8:2])
        @HASH_LOW@: s_axil_rdata <= 56'h@HASH@;
        @HASH_HIGH@: s_axil_rdata <= 56'h@HASH@ >> 32;
        @STATUS@: s_axil_rdata <= {error != 0, done, busy};
        @ERROR@: s_axil_rdata <= error;
        @CYCLES_LOW@: s_axil_rdata <= now;
        @CYCLES_HIGH@: s_axil_rdata <= 0;
        @MARKS@: s_axil_rdata <= register[@BASE_INPUT_LOW@];
        100: s_axil_rdata <= first_ar;
        101: s_axil_rdata <= first_r;
        102: s_axil_rdata <= last_r;
        103: s_axil_rdata <= first_aw;
        104: s_axil_rdata <= first_w;
        105: s_axil_rdata <= last_w;
        106: s_axil_rdata <= last_b;
        107: s_axil_rdata <= scratch;  // has no reset: shows the random initial value
        default: s_axil_rdata <= register[s_axil_araddr[8:2]];
      endcase
    end
    s_axil_bvalid <= ~rst & (write_now | (s_axil_bvalid & ~s_axil_bready));
    s_axil_rvalid <= ~rst & ((s_axil_arvalid & s_axil_arready) | (s_axil_rvalid & ~s_axil_rready));
  end

  // Reads: addresses back to back; data into a queue.
  reg [31:0] ar_left, r_left, got, aw_left, aw_beats, w_left, b_left, sent, w_in_burst;
  reg [@BITS@-1:0] queue[0:DEPTH-1];
  wire ar = m_axi_arvalid & m_axi_arready, r = m_axi_rvalid & m_axi_rready;
  wire aw = m_axi_awvalid & m_axi_awready, w = m_axi_wvalid & m_axi_wready, b = m_axi_bvalid & m_axi_bready;
  wire [31:0] ar_next = ar_left < burst ? ar_left : burst;
  wire [31:0] aw_next = aw_left < burst ? aw_left : burst;
  wire [31:0] w_next = w_left < burst ? w_left : burst;
  assign m_axi_rready = 1;
  assign m_axi_bready = 1;
  assign m_axi_arsize = bad_size ? 0 : SIZE;
  assign {m_axi_awsize, m_axi_arburst, m_axi_awburst} = {SIZE[2:0], 4'b0101};
  assign {m_axi_arcache, m_axi_arprot, m_axi_awcache, m_axi_awprot} = 0;
  // A burst's address waits for its data to be here, unless told otherwise; its data follows the address.
  wire data_here = ~reads | (early_aw ? 1'b1 : got - aw_beats >= aw_next);
  wire aw_issue = busy & writes & (aw_left != 0) & data_here & (~m_axi_awvalid | aw);
  assign m_axi_wvalid = busy & (w_left != 0) & (~reads | sent != got) & (sent < aw_beats)
      & ~(bad_drop & writes & now[0]);
  assign m_axi_wdata = (reads ? queue[sent % DEPTH] : {(BYTES/4){sent}}) ^ (bad_data ? now : 0);
  assign m_axi_wstrb = ~0;
  assign m_axi_wlast = (w_in_burst + 1 == w_next) ^ bad_last;
  assign irq = register[@IRQ_ENABLE@][0] & (done | error != 0);
  always @(posedge clk) begin
    now <= now + busy;
    if (ar) m_axi_arvalid <= 0;
    if (busy & reads & (ar_left != 0) & (~m_axi_arvalid | ar)) begin
      m_axi_arvalid <= 1;
      m_axi_araddr <= source + (beats - ar_left) * BYTES;
      m_axi_arlen <= ar_next - 1;
      ar_left <= ar_left - ar_next;
    end
    if (m_axi_arvalid & ~ar & bad_drop) m_axi_arvalid <= 0;
    if (m_axi_arvalid & ~ar & bad_address) m_axi_araddr <= m_axi_araddr + BYTES;
    if (r) begin
      queue[got % DEPTH] <= m_axi_rdata;
      got <= got + 1;
      r_left <= r_left - 1;
      if (m_axi_rresp != 0) error <= 1;
    end
    if (aw) m_axi_awvalid <= 0;
    if (aw_issue) begin
      m_axi_awvalid <= 1;
      m_axi_awaddr <= target + (beats - aw_left) * BYTES;
      m_axi_awlen <= aw_next - 1;
      aw_left <= aw_left - aw_next;
      aw_beats <= aw_beats + aw_next;
    end
    if (w) begin
      sent <= sent + 1;
      w_in_burst <= w_in_burst + 1 == w_next ? 0 : w_in_burst + 1;
      if (w_in_burst + 1 == w_next) w_left <= w_left - w_next;
    end
    b_left <= b_left + aw_issue - b;
    if (b & m_axi_bresp != 0) error <= 2;
    if (ar & first_ar == ~0) first_ar <= now;
    if (r & first_r == ~0) first_r <= now;
    if (r) last_r <= now;
    if (aw & first_aw == ~0) first_aw <= now;
    if (w & first_w == ~0) first_w <= now;
    if (w) last_w <= now;
    if (b) last_b <= now;
    if (busy & ~never & (r_left == 0) & (aw_left == 0) & (w_left == 0) & ((b_left == 0) | (b & (b_left == 1)))) begin
      busy <= 0;
      done <= 1;
    end
    if (busy & error != 0) busy <= 0;
    if (clear) done <= 0;
    if (soft_reset) {busy, done, error} <= 0;
    if (start & error == 0) begin
      busy <= 1;
      done <= 0;
      {got, sent, aw_beats, w_in_burst, b_left, now} <= 0;
      {first_ar, first_r, last_r, first_aw, first_w, last_w, last_b} <= ~0;
      {ar_left, r_left} <= reads ? {beats, beats} : 0;
      {aw_left, w_left} <= writes ? {beats, beats} : 0;
    end
    if (rst) {busy, done, error, m_axi_arvalid, m_axi_awvalid} <= 0;
  end
endmodule
